package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chunktide/chunk"
)

// work is a batch on its way down the line.
type work struct {
	batch chunk.Batch
	// ready is closed when the batch was prepared.
	ready chan struct{}
	// outcomes has an entry for each event of the batch.
	outcomes []outcome
	// done marks the events that a round before this one has settled; deferred
	// are those that the next round is for.
	done     []bool
	deferred []int
	// points are what the sink is to store, from the events that each came
	// from.
	points []chunk.Point
	from   []int
	// stored are the points of all rounds that are durable.
	stored []chunk.Point
	// unchanged are the indexes of points whose text and vector must be read
	// from the index, once the batches before this one have reached it.
	unchanged []int
	// known are the vectors that this batch has already, should it have to be
	// prepared again.
	known map[chunk.Hash]chunk.Embedding
	// encoded counts the texts that went through the model and encodedTokens
	// their tokens; tokensSaved are those of texts that did not have to.
	encoded, encodedTokens, tokensSaved int
	// embedded is when the batch was prepared; tracks is nil if nothing of it
	// is traced.
	embedded time.Time
	tracks   *tracks
}

func newWork(b chunk.Batch) *work {
	n := len(b.Events)
	return &work{batch: b, outcomes: make([]outcome, n), done: make([]bool, n), known: make(map[chunk.Hash]chunk.Embedding, n)}
}

func (w *work) add(point chunk.Point, event int) {
	w.points, w.from = append(w.points, point), append(w.from, event)
}

// text is one distinct text of a batch and the states that have it.
type text struct {
	value     string
	hash      chunk.Hash
	states    []candidate
	embedding chunk.Embedding
	origin    origin
	err       error // permanent
}

// prepare turns a batch into points: one state for each chunk, one vector for
// each text. Events the encoder refuses are rejected, and the batch is
// collapsed again without them, so that a refused edit does not take the
// good one before it along.
func (p *Pipeline) prepare(ctx context.Context, w *work) error {
	for {
		refused, err := p.prepareOnce(ctx, w)
		if err != nil {
			return err
		}
		if len(refused) == 0 {
			return nil
		}
		if err := p.reject(w, refused); err != nil {
			return err
		}
	}
}

func (p *Pipeline) prepareOnce(ctx context.Context, w *work) ([]chunk.Rejection, error) {
	events := w.batch.Events
	w.points, w.from, w.unchanged = nil, nil, nil
	skip := make([]bool, len(events))
	for i := range events {
		skip[i] = w.done[i] || w.outcomes[i] == rejected
		if !skip[i] {
			w.outcomes[i] = superseded
		}
	}
	c := collapse(events, skip)
	w.deferred = c.deferred
	var refused []chunk.Rejection
	for _, i := range c.orphans {
		refused = append(refused, rejection(i, "encode", errTextUnavailable))
	}
	texts := gather(events, c)
	if err := p.vectors(ctx, w, texts); err != nil {
		return nil, err
	}
	w.tracks.found(texts)
	for i := range texts {
		if texts[i].err == nil {
			continue
		}
		for _, s := range texts[i].states {
			refused = append(refused, rejection(s.event, "encode", texts[i].err))
		}
	}
	if len(refused) == 0 {
		w.assemble(c, texts)
	}
	return refused, nil
}

var errTextUnavailable = chunk.Permanentf(chunk.ReasonTextUnavailable,
	"the source left the text out because it did not change, and the index does not hold it: "+
		"run a backfill, or let the source send whole rows (PostgreSQL: REPLICA IDENTITY FULL)")

func rejection(event int, stage string, err error) chunk.Rejection {
	return chunk.Rejection{Event: event, Stage: stage, Err: err}
}

// gather lists the distinct texts that the batch needs vectors of.
func gather(events []chunk.Event, c collapsed) []text {
	texts := make([]text, 0, len(c.states))
	index := make(map[chunk.Hash]int, len(c.states))
	for _, s := range c.states {
		if s.deleted || s.text < 0 || events[s.event].Op != chunk.Upsert {
			continue
		}
		value := events[s.text].Text
		hash := chunk.HashText(value)
		i, ok := index[hash]
		if !ok {
			i = len(texts)
			index[hash] = i
			texts = append(texts, text{value: value, hash: hash})
		}
		texts[i].states = append(texts[i].states, s)
	}
	return texts
}

// find looks for vectors in the cache, in the index, and asks the model last.
func (p *Pipeline) find(ctx context.Context, w *work, texts []text, asked []int) error {
	if len(asked) == 0 {
		return nil
	}
	hashes := make([]chunk.Hash, len(asked))
	for k, i := range asked {
		hashes[k] = texts[i].hash
	}
	var missing []int
	for k, e := range p.cache.Get(ctx, hashes) {
		if i := asked[k]; e.Vector == nil {
			missing = append(missing, i)
		} else {
			w.learn(&texts[i], e, fromCache, len(texts[i].states))
		}
	}
	missing, err := p.recall(ctx, w, texts, missing)
	if err != nil || len(missing) == 0 {
		return err
	}
	return p.encode(ctx, w, texts, missing)
}

// learn gives a text its vector; saved is how many of its states need no
// model call for it.
func (w *work) learn(t *text, e chunk.Embedding, from origin, saved int) {
	t.embedding, t.origin = e, from
	w.known[t.hash] = e
	w.tokensSaved += saved * e.Tokens
}

// recall asks the index about the texts that the cache does not have: states
// that it already holds need no vector at all, and a text that it holds under
// the same id keeps its vector. So a replay after the cache was lost costs
// reads, not model calls. What it reads may be older than the batches still in
// flight, which can only make it miss something.
func (p *Pipeline) recall(ctx context.Context, w *work, texts []text, missing []int) ([]int, error) {
	if len(missing) == 0 {
		return nil, nil
	}
	events := w.batch.Events
	ids := make([]chunk.ID, 0, len(missing))
	for _, i := range missing {
		for _, s := range texts[i].states {
			ids = append(ids, events[s.event].ID)
		}
	}
	stored, err := p.sink.Read(ctx, ids, false)
	if err != nil {
		return nil, fmt.Errorf("ask the index for %d points: %w", len(ids), err)
	}
	keep := map[chunk.ID]int{}
	rest := missing[:0:0]
	for _, i := range missing {
		fresh := texts[i].states[:0:0]
		for _, s := range texts[i].states {
			e := &events[s.event]
			st, ok := stored[e.ID]
			switch {
			case ok && st.Version >= e.Version:
				w.outcomes[s.event] = stale
				continue
			case ok && !st.Tombstone && !st.Foreign && st.Hash == texts[i].hash:
				keep[e.ID] = i
			}
			fresh = append(fresh, s)
		}
		if texts[i].states = fresh; len(fresh) > 0 {
			rest = append(rest, i)
		}
	}
	if len(keep) == 0 {
		return rest, nil
	}
	return p.keepStored(ctx, w, texts, rest, keep)
}

// keepStored fetches the vectors that the index holds for unchanged texts.
func (p *Pipeline) keepStored(ctx context.Context, w *work, texts []text, missing []int, keep map[chunk.ID]int) ([]int, error) {
	ids := make([]chunk.ID, 0, len(keep))
	for id := range keep {
		ids = append(ids, id)
	}
	stored, err := p.sink.Read(ctx, ids, true)
	if err != nil {
		return nil, fmt.Errorf("read %d unchanged vectors from the index: %w", len(ids), err)
	}
	var hashes []chunk.Hash
	var found []int
	var embeddings []chunk.Embedding
	for id, i := range keep {
		st, ok := stored[id]
		// The point may have changed between the two reads.
		if !ok || st.Hash != texts[i].hash || st.Embedding.Vector == nil || slices.Contains(found, i) {
			continue
		}
		hashes, found, embeddings = append(hashes, st.Hash), append(found, i), append(embeddings, st.Embedding)
	}
	for k, e := range p.cache.Put(ctx, hashes, embeddings) {
		t := &texts[found[k]]
		w.learn(t, e, fromIndex, len(t.states))
	}
	rest := missing[:0:0]
	for _, i := range missing {
		if texts[i].embedding.Vector == nil {
			rest = append(rest, i)
		}
	}
	return rest, nil
}

// encode runs the model over the missing texts.
func (p *Pipeline) encode(ctx context.Context, w *work, texts []text, missing []int) error {
	culprits, err := p.encoderRefusals.bisect(len(missing), func(item int) string { return texts[missing[item]].value }, func(items []int) error {
		values := make([]string, len(items))
		for k, item := range items {
			values[k] = texts[missing[item]].value
		}
		var embeddings []chunk.Embedding
		err := p.guard("the encoder", func() (err error) {
			embeddings, err = p.encoder.Encode(ctx, values)
			return err
		})
		var refused *chunk.Rejected
		if err != nil && !errors.As(err, &refused) {
			return err
		}
		if len(embeddings) != len(values) {
			return fmt.Errorf("encoder returned %d vectors for %d texts", len(embeddings), len(values))
		}
		for k, item := range items {
			t := &texts[missing[item]]
			if t.embedding = embeddings[k]; refused != nil {
				if t.err = refused.Texts[k]; t.err != nil {
					t.err = withoutText(t.err, t.value)
				}
			}
			if t.err == nil && t.embedding.Vector == nil {
				return fmt.Errorf("encoder returned no vector for text %d of %d", k, len(values))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("encode %d texts: %w", len(missing), err)
	}
	var hashes []chunk.Hash
	var done []int
	var embeddings []chunk.Embedding
	for k, i := range missing {
		t := &texts[i]
		if cause := culprits[k]; cause != nil {
			t.err = cause
		}
		if t.err == nil {
			hashes, done, embeddings = append(hashes, t.hash), append(done, i), append(embeddings, t.embedding)
		}
	}
	w.encoded += len(done)
	for k, e := range p.cache.Put(ctx, hashes, embeddings) {
		t := &texts[done[k]]
		w.learn(t, e, fromModel, len(t.states)-1)
		w.encodedTokens += e.Tokens
	}
	return nil
}

// assemble makes the points, in the order of the batch's states.
func (w *work) assemble(c collapsed, texts []text) {
	events := w.batch.Events
	n := len(c.states) + len(c.deletes)
	w.points, w.from = make([]chunk.Point, 0, n), make([]int, 0, n)
	vectors := make(map[int]*text, len(c.states))
	for i := range texts {
		for _, s := range texts[i].states {
			vectors[s.event] = &texts[i]
		}
	}
	for _, s := range c.states {
		if w.outcomes[s.event] == stale {
			continue
		}
		e := &events[s.event]
		point := newPoint(e)
		w.outcomes[s.event] = applied
		switch t := vectors[s.event]; {
		case e.Op != chunk.Upsert:
		case s.deleted:
			point.Op = chunk.Delete
		case t != nil:
			point.Position, point.Metadata = e.Position, e.Metadata
			point.Text, point.Hash, point.Embedding = t.value, t.hash, t.embedding
		default:
			point.Position, point.Metadata = e.Position, e.Metadata
			w.unchanged = append(w.unchanged, len(w.points))
		}
		w.add(point, s.event)
	}
	// After the states they may follow: the sink executes them last.
	for _, i := range c.deletes {
		w.outcomes[i] = applied
		w.add(newPoint(&events[i]), i)
	}
}

func newPoint(e *chunk.Event) chunk.Point {
	return chunk.Point{
		ID: e.ID, Op: e.Op, Source: e.Source, DocumentID: e.DocumentID, ChunkID: e.ChunkID,
		Version: e.Version, Origin: e.Origin, EventTime: e.Time,
	}
}
