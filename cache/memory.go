package cache

import (
	"sync"

	"chunktide/chunk"
)

// entryOverhead is what an entry takes beside its value: the entry itself and
// its share of the map. TestMemoryBoundIsReal measures it.
const entryOverhead = 192

// memory is a least-recently-used map of encoded values, bounded by bytes. All
// values of a model have one length, so every entry has one cost. It keeps the
// encoded form, because fp16 takes half the room of a []float32 and because
// nobody can change a vector that nobody shares.
type memory struct {
	limit int64
	cost  int64 // of one entry

	mu      sync.Mutex
	entries map[chunk.Hash]*entry
	// ring is the sentinel of a circular list: next is the most recently
	// used, prev the least.
	ring  entry
	bytes int64
}

type entry struct {
	hash       chunk.Hash
	value      []byte
	prev, next *entry
}

// newMemory bounds the bytes that values, keys and bookkeeping take. A limit
// below one entry keeps nothing.
func newMemory(limit int64, valueSize int) *memory {
	// append rounds up to what the allocator really sets aside.
	allocated := cap(append([]byte(nil), make([]byte, valueSize)...))
	m := &memory{limit: limit, cost: int64(allocated) + entryOverhead}
	m.clear()
	return m
}

// get returns the value, which is not to be changed, or nil.
func (m *memory) get(hash chunk.Hash) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[hash]
	if e == nil {
		return nil
	}
	e.unlink()
	m.pushFront(e)
	return e.value
}

// add keeps value unless there is one already, and returns the one that it
// keeps. It takes value over.
func (m *memory) add(hash chunk.Hash, value []byte) []byte {
	if m.cost > m.limit {
		return value
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[hash]; e != nil {
		e.unlink()
		m.pushFront(e)
		return e.value
	}
	for m.bytes+m.cost > m.limit {
		m.remove(m.ring.prev)
	}
	e := &entry{hash: hash, value: value}
	m.entries[hash] = e
	m.pushFront(e)
	m.bytes += m.cost
	return value
}

// drop removes the entry if it still has this value.
func (m *memory) drop(hash chunk.Hash, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[hash]; e != nil && &e.value[0] == &value[0] {
		m.remove(e)
	}
}

func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = map[chunk.Hash]*entry{}
	m.ring.prev, m.ring.next = &m.ring, &m.ring
	m.bytes = 0
}

func (m *memory) size() (entries int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries), m.bytes
}

func (m *memory) remove(e *entry) {
	e.unlink()
	delete(m.entries, e.hash)
	m.bytes -= m.cost
}

func (m *memory) pushFront(e *entry) {
	e.prev, e.next = &m.ring, m.ring.next
	e.prev.next, e.next.prev = e, e
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
