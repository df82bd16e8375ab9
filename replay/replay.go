// Package replay tells what reading a stretch of the topic again would do,
// before anybody does it.
//
// What it guarantees: nothing is changed. The counts are those of a worker that
// reads the same records in the same order, with the cache and the index as
// they are now; what other workers write meanwhile is seen before or after.
// Memory grows with what would change, some 150 bytes for each such chunk: a
// replay of what is level already needs none.
package replay

import (
	"context"
	"fmt"
	"time"

	"chunktide/chunk"
)

// Index is what the worker writes to; see pipeline.Sink.
type Index interface {
	Read(ctx context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error)
}

// Cache holds the vectors that need no model call; see pipeline.Cache.
type Cache interface {
	Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding
}

// Empty is an index, or a cache, that holds nothing.
type Empty struct{}

// Read implements [Index].
func (Empty) Read(context.Context, []chunk.ID, bool) (map[chunk.ID]chunk.Stored, error) {
	return nil, nil
}

// Get implements [Cache].
func (Empty) Get(_ context.Context, hashes []chunk.Hash) []chunk.Embedding {
	return make([]chunk.Embedding, len(hashes))
}

// Effect counts what records would do. Events is the sum of Adds, Edits,
// Deletes and Unchanged.
type Effect struct {
	// Records were read; Malformed ones among them would go to the dead letters.
	Records   int `json:"records"`
	Malformed int `json:"malformed"`
	Events    int `json:"events"`
	// Adds are upserts of chunks that the index does not hold, Edits those of
	// chunks that it holds in an older state.
	Adds  int `json:"adds"`
	Edits int `json:"edits"`
	// Deletes remove something. A delete of a document that has no version
	// counts always: what it would find is known to the index alone.
	Deletes int `json:"deletes"`
	// Unchanged events find the index as new as they are.
	Unchanged int `json:"unchanged"`
	// ModelCalls are the texts that would be encoded, Tokens theirs.
	ModelCalls int `json:"model_calls"`
	Tokens     int `json:"tokens"`
}

// Add sums two effects.
func (e *Effect) Add(o Effect) {
	e.Records += o.Records
	e.Malformed += o.Malformed
	e.Events += o.Events
	e.Adds += o.Adds
	e.Edits += o.Edits
	e.Deletes += o.Deletes
	e.Unchanged += o.Unchanged
	e.ModelCalls += o.ModelCalls
	e.Tokens += o.Tokens
}

// Preview plays records without effect. Use it from one goroutine.
type Preview struct {
	index  Index
	cache  Cache
	tokens func(string) int
	// size is how many events the worker takes into one batch: of the states
	// of a chunk within a batch only the last is encoded.
	size    int
	waiting []waiting
	// changed are the points that would differ from the index, encoded the
	// texts that would be in the cache by now.
	changed map[chunk.ID]state
	encoded map[chunk.Hash]bool
	// emptied are the documents that a delete without a version met.
	emptied map[chunk.ID]*chunk.Event
}

// waiting is an event whose effect is not known yet.
type waiting struct {
	event chunk.Event
	to    *Effect
}

// state is what the index would hold of a point.
type state struct {
	version chunk.Version
	living  bool
	// foreign is [chunk.Stored]'s.
	foreign bool
	hash    chunk.Hash
	origin  chunk.Origin
	time    time.Time
}

// New makes a preview. tokens counts a text as the model will; batch is how
// many events a micro-batch holds (kafka.batch.events).
func New(index Index, cache Cache, tokens func(string) int, batch int) *Preview {
	return &Preview{
		index: index, cache: cache, tokens: tokens, size: max(1, batch),
		changed: map[chunk.ID]state{}, encoded: map[chunk.Hash]bool{}, emptied: map[chunk.ID]*chunk.Event{},
	}
}

// Play takes the events of one record, or the reason why it is malformed, and
// counts into to. The counts are complete after [Preview.Flush].
func (p *Preview) Play(ctx context.Context, events []chunk.Event, malformed error, to *Effect) error {
	to.Records++
	if malformed != nil {
		to.Malformed++
		return nil //nolint:nilerr // the record is counted, which is all there is to do
	}
	to.Events += len(events)
	for _, e := range events {
		p.waiting = append(p.waiting, waiting{e, to})
	}
	if len(p.waiting) < p.size {
		return nil
	}
	return p.Flush(ctx)
}

// Flush counts what waits for its batch to fill.
func (p *Preview) Flush(ctx context.Context) error {
	if len(p.waiting) == 0 {
		return nil
	}
	stored, err := p.stored(ctx)
	if err != nil {
		return err
	}
	b := &batch{Preview: p, stored: stored, cached: p.cached(ctx), final: p.final(), before: map[chunk.ID]state{}, kept: map[chunk.Hash]bool{}}
	b.look()
	for i, w := range p.waiting {
		b.play(i, &w.event, w.to)
	}
	p.waiting = p.waiting[:0]
	return nil
}

// stored reads what the index holds of the batch's chunks and documents.
func (p *Preview) stored(ctx context.Context) (map[chunk.ID]chunk.Stored, error) {
	var ids []chunk.ID
	seen := map[chunk.ID]bool{}
	for _, w := range p.waiting {
		for _, id := range []chunk.ID{w.event.ID, chunk.NewDocumentID(w.event.Source, w.event.DocumentID)} {
			if _, known := p.changed[id]; !known && !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	stored, err := p.index.Read(ctx, ids, false)
	if err != nil {
		return nil, fmt.Errorf("read %d points of the index: %w", len(ids), err)
	}
	return stored, nil
}

// cached are the texts of the batch that the cache holds.
func (p *Preview) cached(ctx context.Context) map[chunk.Hash]bool {
	var hashes []chunk.Hash
	for _, w := range p.waiting {
		if w.event.Op == chunk.Upsert && w.event.Text != "" {
			hashes = append(hashes, chunk.HashText(w.event.Text))
		}
	}
	cached := map[chunk.Hash]bool{}
	for i, e := range p.cache.Get(ctx, hashes) {
		cached[hashes[i]] = e.Vector != nil
	}
	return cached
}

// final marks, of each chunk's states in the batch, the one that the worker
// prepares: the first of the highest version, and none that a later delete
// without a version removes again.
func (p *Preview) final() map[int]bool {
	best := map[chunk.ID]int{}
	removed := map[chunk.ID]chunk.Origin{}
	for i, w := range p.waiting {
		e := &w.event
		switch at, seen := best[e.ID]; {
		case e.Versionless():
			removed[e.ID] = e.Origin
		case !seen || e.Version > p.waiting[at].event.Version:
			best[e.ID] = i
		}
	}
	final := make(map[int]bool, len(best))
	for id, i := range best {
		by, ok := removed[id]
		o := p.waiting[i].event.Origin
		final[i] = !ok || !by.SamePartition(o) || o.Offset > by.Offset
	}
	return final
}
