package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"chunktide/chunk"
)

func numbered(i uint64) (hash chunk.Hash) {
	binary.BigEndian.PutUint64(hash[:], i)
	return hash
}

func TestMemoryForgetsTheLeastRecentlyUsed(t *testing.T) {
	m := newMemory(3*(16+entryOverhead), 16)
	for i := range uint64(3) {
		m.add(numbered(i), make([]byte, 16))
	}
	m.get(numbered(0))
	m.add(numbered(1), make([]byte, 16)) // counts as a use
	m.add(numbered(3), make([]byte, 16))
	for i, want := range []bool{true, true, false, true} {
		if got := m.get(numbered(uint64(i))) != nil; got != want {
			t.Errorf("entry %d is there: %v, want %v", i, got, want)
		}
	}
	if n, bytes := m.size(); n != 3 || bytes != 3*(16+entryOverhead) {
		t.Errorf("%d entries, %d bytes", n, bytes)
	}
}

func TestMemoryKeepsTheFirst(t *testing.T) {
	m := newMemory(1<<20, 4)
	first, second := []byte{1, 1, 1, 1}, []byte{2, 2, 2, 2}
	m.add(numbered(1), first)
	if got := m.add(numbered(1), second); got[0] != 1 {
		t.Error("a second value took the place of the first")
	}
	m.drop(numbered(1), second)
	if m.get(numbered(1)) == nil {
		t.Error("another value was dropped")
	}
	m.drop(numbered(1), first)
	if n, bytes := m.size(); n != 0 || bytes != 0 {
		t.Errorf("%d entries of %d bytes left", n, bytes)
	}
}

func TestMemoryOffOrTooSmall(t *testing.T) {
	for _, limit := range []int64{0, 100} {
		m := newMemory(limit, 16)
		m.add(numbered(1), make([]byte, 16))
		if n, bytes := m.size(); n != 0 || bytes != 0 || m.get(numbered(1)) != nil {
			t.Errorf("limit %d: %d entries of %d bytes", limit, n, bytes)
		}
	}
}

// The list and the map agree, and the bound holds, whatever happens.
func TestMemoryAccounting(t *testing.T) {
	m := newMemory(50_000, 64)
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		hash := numbered(r.Uint64N(1000))
		switch r.IntN(4) {
		case 0:
			m.get(hash)
		case 1:
			if v := m.get(hash); v != nil {
				m.drop(hash, v)
			}
		default:
			m.add(hash, make([]byte, 64))
		}
		if n, bytes := m.size(); bytes > m.limit || bytes != int64(n)*m.cost {
			t.Fatalf("%d entries are %d bytes", n, bytes)
		}
	}
	n := 0
	for e := m.ring.next; e != &m.ring; e = e.next {
		if m.entries[e.hash] != e || e.next.prev != e {
			t.Fatal("the list is broken")
		}
		n++
	}
	if n != len(m.entries) {
		t.Errorf("%d in the list, %d in the map", n, len(m.entries))
	}
}

// What is accounted for is what the process really uses, within a twentieth above.
func TestMemoryBoundIsReal(t *testing.T) {
	for _, valueSize := range []int{784, 1552, 4112} {
		const limit = 32 << 20
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := newMemory(limit, valueSize)
		for i := range uint64(3 * limit / 1000) {
			m.add(numbered(i), make([]byte, valueSize))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		n, bytes := m.size()
		used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("values of %d bytes: %d entries, accounted %d, used %d: %.0f beside each value",
			valueSize, n, bytes, used, float64(used)/float64(n)-float64(m.cost-entryOverhead))
		if used > limit*105/100 || used < limit*8/10 {
			t.Errorf("values of %d bytes: %d bytes are used for a limit of %d", valueSize, used, limit)
		}
		runtime.KeepAlive(m)
	}
}

func TestMemoryConcurrently(t *testing.T) {
	m := newMemory(20_000, 16)
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(2000) {
				hash := numbered((g + i) % 200)
				if v := m.add(hash, make([]byte, 16)); len(v) != 16 {
					t.Error("a foreign value")
				}
				m.get(hash)
				m.size()
			}
		})
	}
	wg.Wait()
}
