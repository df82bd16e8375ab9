// Package history makes random lives of a corpus, from a seed, as producers
// would publish them, with the mistakes that producers make, and knows the
// index that each must end in.
//
// The knowledge is independent of the code under test: [History.Compare] holds
// an index, however it came about, against the fold of the log.
package history

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"chunktide/chunk"
)

// Shape says what a history is like. Shares are of all events, 0 to 1.
type Shape struct {
	Events int
	Chunks int
	// PerDocument is how many chunks a document has. Every eighth document lives
	// as change-data-capture makes it.
	PerDocument int
	Partitions  int32
	// Texts is how many different texts there are to choose from; fewer than
	// events means that contents repeat.
	Texts int
	// Duplicates are published twice, Reordered after later ones, Rekeyed to a
	// partition that is not the chunk's.
	Duplicates, Reordered, Rekeyed float64
	// Deletes are of a chunk, DocumentDeletes of all chunks of a document.
	Deletes, DocumentDeletes float64
	// Malformed records are added to the events: no decoder takes them.
	Malformed float64
	// Refused events are well formed, but their text has no words, and the
	// bag-of-words encoder refuses it.
	Refused float64
	// Start is when the first event happened; each follows a millisecond later.
	Start time.Time
}

// DefaultShape has the faults of producers at 5 % each.
func DefaultShape(events, chunks int, partitions int32) Shape {
	return Shape{
		Events: events, Chunks: chunks, PerDocument: 10, Partitions: partitions, Texts: max(1, events/4),
		Duplicates: .05, Reordered: .05, Rekeyed: .05, Deletes: .1, DocumentDeletes: .002, Malformed: .01, Refused: .002,
		Start: time.Now().Add(-time.Hour).Truncate(time.Millisecond),
	}
}

// Kind is what must become of a record.
type Kind uint8

const (
	// Valid records are applied, or are older than what is.
	Valid Kind = iota
	// Malformed ones must be in the dead letters.
	Malformed
	// Refused ones are in the dead letters unless something newer came first.
	Refused
)

// Record is one record to publish. Those of a partition must stay in order.
type Record struct {
	Partition int32
	Key       []byte
	// Value is nil for a tombstone.
	Value []byte
	// Time is the record's timestamp.
	Time time.Time
	Kind Kind
}

// State is what the index must hold of a chunk.
type State struct {
	Source, DocumentID, ChunkID string
	Version                     int64
	// Living is false for a chunk that was deleted.
	Living bool
	Text   string
}

func (s State) id() chunk.ID { return chunk.NewID(s.Source, s.DocumentID, s.ChunkID) }

// History is a life of a corpus.
type History struct {
	// Records are in the order of publication.
	Records []Record
	// Want is the fold of the log, by point: every chunk that ever was.
	Want map[chunk.ID]State
	// Texts are the different texts that valid upserts have: as many model
	// calls are needed at most if nothing is forgotten.
	Texts map[string]bool
}

const (
	source = "history"
	// cdcShare of the chunks live as change-data-capture makes them: on one
	// partition, in order, deleted by tombstones without a version.
	cdcShare = 8
	// delay is how many events later a late record comes at most.
	delay = 200
)

// event is the native form.
type event struct {
	Op         string    `json:"op"`
	Source     string    `json:"source"`
	DocumentID string    `json:"document_id"`
	ChunkID    string    `json:"chunk_id,omitempty"`
	Text       string    `json:"text,omitempty"`
	Version    int64     `json:"version"`
	Time       time.Time `json:"ts"`
}

type eventKey struct {
	Source     string `json:"source"`
	DocumentID string `json:"document_id"`
	ChunkID    string `json:"chunk_id,omitempty"`
}

// maker is a history in the making.
type maker struct {
	*History
	shape Shape
	rng   *rand.Rand
	at    int // the event
	// late are records to be published before the event of their key.
	late    map[int][]Record
	best    map[int]State // of each chunk, document deletes left aside
	deleted map[int]int64 // by document: the version of its delete
}

// New makes the history of a seed. It is deterministic.
func New(seed uint64, shape Shape) *History {
	m := live(seed, shape, shape.Events)
	for i := range delay + 1 {
		m.release(shape.Events + i)
	}
	m.fold()
	return m.History
}

// live makes the first n events.
func live(seed uint64, shape Shape, n int) *maker {
	m := &maker{
		History: &History{Want: map[chunk.ID]State{}, Texts: map[string]bool{}},
		shape:   shape, rng: rand.New(rand.NewPCG(seed, 7)),
		late: map[int][]Record{}, best: map[int]State{}, deleted: map[int]int64{},
	}
	for m.at = range n {
		m.event()
		m.release(m.at)
	}
	return m
}

// Snapshot is what a backfill reads when it begins: the living rows as they
// stand after n events, each with the version that it has then. Written
// however late, beside the live stream, they must change nothing in the end.
func Snapshot(seed uint64, shape Shape, n int) []Record {
	m := live(seed, shape, n)
	m.fold()
	var rows []Record
	for c := range shape.Chunks {
		s, ok := m.best[c]
		if !ok || !m.Want[s.id()].Living {
			continue
		}
		m.at = int(s.Version) - 1
		rows = append(rows, Record{
			Partition: home(c, shape.Partitions), Key: marshal(eventKey{s.Source, s.DocumentID, s.ChunkID}), Time: m.now(),
			Value: marshal(event{Op: "upsert", Source: s.Source, DocumentID: s.DocumentID, ChunkID: s.ChunkID, Text: s.Text, Version: s.Version, Time: m.now()}),
		})
	}
	return rows
}

func (m *maker) chance(share float64) bool { return m.rng.Float64() < share }

// event adds one event of a chunk, and what goes wrong with it.
func (m *maker) event() {
	c := m.rng.IntN(m.shape.Chunks)
	cdc := m.isCDC(c)
	if m.chance(m.shape.Malformed) {
		m.publish(Record{Partition: m.rng.Int32N(m.shape.Partitions), Key: []byte("bad"), Value: m.malformed(), Time: m.now(), Kind: Malformed})
	}
	r := m.change(c, cdc)
	if cdc {
		m.publish(r)
		return
	}
	if m.chance(m.shape.Rekeyed) {
		r.Partition = m.rng.Int32N(m.shape.Partitions)
	}
	if m.chance(m.shape.Duplicates) {
		m.postpone(r)
	}
	if m.chance(m.shape.Reordered) {
		m.postpone(r)
		return
	}
	m.publish(r)
}

// change is the next state of a chunk, or of its document.
func (m *maker) change(c int, cdc bool) Record {
	v := int64(m.at) + 1
	doc := c / m.shape.PerDocument
	e := event{Op: "upsert", Source: source, DocumentID: fmt.Sprint("doc-", doc), ChunkID: fmt.Sprint("chunk-", c), Version: v, Time: m.now()}
	r := Record{Partition: home(c, m.shape.Partitions), Time: e.Time}
	r.Key = marshal(eventKey{e.Source, e.DocumentID, e.ChunkID})
	state := State{Source: source, DocumentID: e.DocumentID, ChunkID: e.ChunkID, Version: v}
	switch {
	case !cdc && m.chance(m.shape.DocumentDeletes):
		e.Op, e.ChunkID = "delete", ""
		m.deleted[doc] = v
		r.Key = marshal(eventKey{e.Source, e.DocumentID, ""})
	case m.chance(m.shape.Deletes):
		m.best[c] = state
		if cdc {
			return r // a tombstone
		}
		e.Op = "delete"
	case !cdc && m.chance(m.shape.Refused):
		// A separator is white space to the encoder and none to the decoder, to
		// whom an empty text is a delete.
		e.Text, r.Kind = " \x1c ", Refused
	default:
		e.Text = fmt.Sprintf("words number %d of the text %d", m.rng.IntN(50), m.rng.IntN(m.shape.Texts))
		state.Living, state.Text = true, e.Text
		m.Texts[e.Text] = true
		m.best[c] = state
	}
	r.Value = marshal(e)
	return r
}

// malformed is a value of one of the kinds that no decoder takes.
func (m *maker) malformed() []byte {
	kinds := []string{
		`{"op":"upsert"`,
		`{"op":"frobnicate","document_id":"d","chunk_id":"c","version":1,"text":"x"}`,
		`{"op":"upsert","chunk_id":"c","version":1,"text":"no document"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","version":9007199254740993,"text":"beyond 2^53"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","version":1.5,"text":"x"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","version":1,"text":7}`,
		"\xff\xfe no JSON at all", `null`, `[]`, ``,
	}
	return []byte(kinds[m.rng.IntN(len(kinds))])
}

func (m *maker) now() time.Time { return m.shape.Start.Add(time.Duration(m.at) * time.Millisecond) }

func (m *maker) publish(r Record) { m.Records = append(m.Records, r) }

func (m *maker) postpone(r Record) {
	at := m.at + 1 + m.rng.IntN(delay)
	m.late[at] = append(m.late[at], r)
}

func (m *maker) release(at int) {
	m.Records = append(m.Records, m.late[at]...)
	delete(m.late, at)
}

func (m *maker) fold() {
	for c, s := range m.best {
		if s.Version < m.deleted[c/m.shape.PerDocument] {
			s.Living, s.Text = false, ""
		}
		m.Want[s.id()] = s
	}
}

func (m *maker) isCDC(c int) bool { return c/m.shape.PerDocument%cdcShare == cdcShare-1 }

func home(c int, partitions int32) int32 { return int32(c*7919) % partitions }

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	return b
}
