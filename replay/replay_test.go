package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/devstack/qdrantd"
	"chunktide/embedder"
	"chunktide/pipeline"
	"chunktide/sink"
)

const batchEvents = 16

// held is a cache of the texts that it was given.
type held struct {
	vectors map[chunk.Hash]chunk.Embedding
}

func (h *held) Get(_ context.Context, hashes []chunk.Hash) []chunk.Embedding {
	out := make([]chunk.Embedding, len(hashes))
	for i, hash := range hashes {
		out[i] = h.vectors[hash]
	}
	return out
}

func (h *held) Put(_ context.Context, hashes []chunk.Hash, embeddings []chunk.Embedding) []chunk.Embedding {
	for i, hash := range hashes {
		h.vectors[hash] = embeddings[i]
	}
	return embeddings
}

// batches hands out events in the batches that the preview supposes. Each
// waits for the one before it, so that nothing is read too early.
type batches struct {
	events []chunk.Event
	acked  chan struct{}
	first  bool
}

func (b *batches) Next(ctx context.Context) (chunk.Batch, error) {
	if !b.first {
		select {
		case <-b.acked:
		case <-ctx.Done():
			return chunk.Batch{}, ctx.Err()
		}
	}
	b.first = false
	if len(b.events) == 0 {
		return chunk.Batch{}, io.EOF
	}
	n := min(batchEvents, len(b.events))
	out := chunk.Batch{
		Events: b.events[:n], Ack: func() { b.acked <- struct{}{} },
		Reject: func(r []chunk.Rejection) error { return fmt.Errorf("nothing is to be rejected: %w", r[0].Err) },
	}
	b.events = b.events[n:]
	return out, nil
}

// life is a log of events on a few chunks, some of them late or double.
func life(rng *rand.Rand, from, n int) []chunk.Event {
	var events []chunk.Event
	for i := range n {
		e := chunk.Event{
			Op: chunk.Upsert, Source: "s", DocumentID: fmt.Sprint("d", rng.IntN(3)), ChunkID: fmt.Sprint(rng.IntN(6)),
			Version: chunk.Version(max(1, from+i-rng.IntN(9))), Time: time.UnixMilli(int64(from + i)), Text: fmt.Sprint("text number ", rng.IntN(25)),
			Origin: chunk.Origin{Topic: "t", Partition: int32(rng.IntN(2)), Offset: int64(from + i)},
		}
		switch rng.IntN(9) {
		case 0:
			e.Op, e.Text = chunk.Delete, ""
		case 1:
			e.Op, e.Text, e.Version = chunk.Delete, "", 0
		case 2:
			e.Op, e.Text, e.ChunkID = chunk.DeleteDocument, "", ""
			if rng.IntN(3) == 0 {
				e.Version = 0
			}
		}
		e.ID = chunk.NewID(e.Source, e.DocumentID, e.ChunkID)
		if e.Op == chunk.DeleteDocument {
			e.ID = chunk.NewDocumentID(e.Source, e.DocumentID)
		}
		events = append(events, e)
	}
	return events
}

// What the preview says is what the worker then does, also of a part that was
// read before, with a cache that has lost some of its vectors.
func TestThePreviewIsWhatHappens(t *testing.T) {
	server, err := qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	encoder := embedder.NewBow("", nil)
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 0))
		cfg := sink.DefaultConfig()
		cfg.Address, cfg.Index = server.Addr(), fmt.Sprint("preview-", seed)
		index, err := sink.Open(t.Context(), cfg, worker.ModelPin(encoder.Recipe()), slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		cache := &held{map[chunk.Hash]chunk.Embedding{}}
		run := func(events []chunk.Event) (got Effect) {
			line := pipeline.New(pipeline.DefaultConfig(), pipeline.Parts{
				Source:  &batches{events: events, acked: make(chan struct{}, 1), first: true},
				Encoder: encoder, Cache: cache, Sink: index, Logger: slog.New(slog.DiscardHandler),
				Observe: func(r pipeline.Report) { got.ModelCalls += r.Encoded; got.Tokens += r.Tokens },
			})
			if err := line.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			return got
		}
		events := life(rng, 1, 150)
		run(events[:100])
		for hash := range cache.vectors {
			if rng.IntN(2) == 0 {
				delete(cache.vectors, hash)
			}
		}
		again := events[50:]
		var want Effect
		p := New(index, cache, encoder.Tokens, batchEvents)
		for i := range again {
			if err := p.Play(t.Context(), again[i:i+1], nil, &want); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, err := index.Live(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := run(again)
		if got.ModelCalls != want.ModelCalls || got.Tokens != want.Tokens {
			t.Errorf("seed %d: %d model calls of %d tokens, the preview said %d of %d", seed, got.ModelCalls, got.Tokens, want.ModelCalls, want.Tokens)
		}
		if want.Adds+want.Edits+want.Deletes+want.Unchanged != len(again) || want.Events != len(again) || want.Records != len(again) {
			t.Errorf("seed %d: the events are %+v, want a sum of %d", seed, want, len(again))
		}
		after, err := index.Live(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if most := want.Adds; after-before > most {
			t.Errorf("seed %d: %d chunks came to life, the preview said %d", seed, after-before, most)
		}
		_ = index.Close()
	}
}

// points is an index as the test says.
type points map[chunk.ID]chunk.Stored

func (p points) Read(context.Context, []chunk.ID, bool) (map[chunk.ID]chunk.Stored, error) {
	return p, nil
}

func TestEventsAreSortedByWhatTheyDo(t *testing.T) {
	t.Parallel()
	id := func(name string) chunk.ID { return chunk.NewID("s", "d", name) }
	at := func(partition int32, offset int64) chunk.Origin {
		return chunk.Origin{Topic: "t", Partition: partition, Offset: offset}
	}
	event := func(op chunk.Op, name string, v chunk.Version, text string) chunk.Event {
		return chunk.Event{Op: op, ID: id(name), Source: "s", DocumentID: "d", ChunkID: name, Version: v, Text: text, Origin: at(0, 50), Time: time.UnixMilli(50)}
	}
	index := points{
		id("old"):  {Version: 5, Hash: chunk.HashText("as it was"), Origin: at(0, 5), EventTime: time.UnixMilli(5)},
		id("late"): {Version: 5, Hash: chunk.HashText("as it was"), Origin: at(0, 60), EventTime: time.UnixMilli(60)},
		id("dead"): {Version: 5, Tombstone: true},
	}
	one := func(f func(*Effect)) Effect {
		e := Effect{Records: 1, Events: 1}
		f(&e)
		return e
	}
	unchanged := one(func(e *Effect) { e.Unchanged++ })
	deletes := one(func(e *Effect) { e.Deletes++ })
	for name, c := range map[string]struct {
		event chunk.Event
		want  Effect
	}{
		"a new chunk":                    {event(chunk.Upsert, "new", 1, "two words"), one(func(e *Effect) { e.Adds, e.ModelCalls, e.Tokens = 1, 1, 2 })},
		"a new chunk, text in the cache": {event(chunk.Upsert, "new", 1, "in the cache"), one(func(e *Effect) { e.Adds = 1 })},
		"an edit":                        {event(chunk.Upsert, "old", 6, "two words"), one(func(e *Effect) { e.Edits, e.ModelCalls, e.Tokens = 1, 1, 2 })},
		"an edit of the metadata":        {event(chunk.Upsert, "old", 6, "as it was"), one(func(e *Effect) { e.Edits = 1 })},
		"the same again":                 {event(chunk.Upsert, "old", 5, "two words"), unchanged},
		"a chunk comes back":             {event(chunk.Upsert, "dead", 6, "two words"), one(func(e *Effect) { e.Adds, e.ModelCalls, e.Tokens = 1, 1, 2 })},
		"a delete":                       {event(chunk.Delete, "old", 6, ""), deletes},
		"an old delete":                  {event(chunk.Delete, "old", 5, ""), unchanged},
		"a delete of what is dead":       {event(chunk.Delete, "dead", 6, ""), unchanged},
		"a delete of what is not there":  {event(chunk.Delete, "new", 6, ""), unchanged},
		"a versionless delete":           {event(chunk.Delete, "old", 0, ""), deletes},
		"one that came before":           {event(chunk.Delete, "late", 0, ""), unchanged},
	} {
		cache := &held{map[chunk.Hash]chunk.Embedding{chunk.HashText("in the cache"): {Vector: []float32{1}}}}
		var got Effect
		p := New(index, cache, func(s string) int { return len(strings.Fields(s)) }, 1)
		if err := p.Play(t.Context(), []chunk.Event{c.event}, nil, &got); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	var got Effect
	p := New(Empty{}, Empty{}, nil, 4)
	err := errors.Join(p.Play(t.Context(), nil, errors.New("malformed"), &got), p.Play(t.Context(), nil, nil, &got), p.Flush(t.Context()))
	if want := (Effect{Records: 2, Malformed: 1}); err != nil || got != want {
		t.Errorf("records without events: %+v, %v; want %+v", got, err, want)
	}
	// Of the states of a chunk in one batch only the last is encoded, and a text once.
	got = Effect{}
	p = New(Empty{}, Empty{}, func(string) int { return 1 }, 10)
	all := []chunk.Event{event(chunk.Upsert, "a", 1, "first"), event(chunk.Upsert, "a", 2, "last"), event(chunk.Upsert, "b", 1, "last")}
	if err := errors.Join(p.Play(t.Context(), all, nil, &got), p.Flush(t.Context())); err != nil || got.ModelCalls != 1 || got.Adds != 2 || got.Edits != 1 {
		t.Errorf("a batch: %+v, %v; want one call", got, err)
	}
}
