package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/devstack/qdrantd"
	"chunktide/embedder"
	"chunktide/pipeline"
	"chunktide/sink"
)

// partitionLog is one partition as change-data-capture fills it: rising
// versions, deletes with and without one, updates that leave the text out.
func partitionLog(rng *rand.Rand) []chunk.Event {
	var events []chunk.Event
	for i := range int64(70) {
		e := chunk.Event{
			Op: chunk.Upsert, Source: "s", DocumentID: fmt.Sprint("d", rng.IntN(2)), ChunkID: fmt.Sprint(rng.IntN(3)),
			Version: chunk.Version(i + 2), Time: time.UnixMilli(i + 1), Text: fmt.Sprint("text ", rng.IntN(30)),
			Origin: chunk.Origin{Topic: "t", Offset: i},
		}
		switch rng.IntN(10) {
		case 0, 1:
			e.Op, e.Text = chunk.Delete, ""
		case 2, 3:
			e.Op, e.Text, e.Version = chunk.Delete, "", 0
		case 4, 5:
			e.Text, e.TextUnchanged = "", true
		case 6:
			e.Op, e.Text, e.ChunkID = chunk.DeleteDocument, "", ""
			if rng.IntN(2) == 0 {
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

// applyLog runs the log through a pipeline into an index of its own, in
// batches of at most size, and again from wherever a crash would begin anew.
// It returns the living chunks with text and version.
func applyLog(t *testing.T, addr string, events []chunk.Event, size int, rng *rand.Rand) map[string]string {
	t.Helper()
	encoder := embedder.NewBow("", nil)
	cfg := sink.DefaultConfig()
	cfg.Address, cfg.Index = addr, fmt.Sprintf("batching-%d", time.Now().UnixNano())
	index, err := sink.Open(t.Context(), cfg, worker.ModelPin(encoder.Recipe()), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	memory, err := cache.New(cache.DefaultConfig(), encoder.Recipe().Digest(), encoder.Recipe().Dim, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	runs := [][]chunk.Event{events}
	if size > 1 {
		crash := rng.IntN(len(events))
		back := rng.IntN(crash + 1)
		runs = [][]chunk.Event{events[:crash], events[back:]}
	}
	for _, run := range runs {
		line := pipeline.New(pipeline.DefaultConfig(), pipeline.Parts{
			Source: &cutSource{events: run, size: size, rng: rng}, Encoder: encoder, Cache: memory, Sink: index, Logger: slog.New(slog.DiscardHandler),
		})
		if err := line.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	err = index.Scroll(t.Context(), func(r sink.Record) error {
		if !r.Tombstone {
			got[r.DocumentID+"/"+r.ChunkID] = fmt.Sprintf("%s@%d", r.Text, r.Version)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// cutSource cuts events into batches; what is rejected is dropped.
type cutSource struct {
	events []chunk.Event
	size   int
	rng    *rand.Rand
}

func (s *cutSource) Next(ctx context.Context) (chunk.Batch, error) {
	inner := sliceSource{events: s.events, rng: s.rng, most: s.size}
	b, err := inner.Next(ctx)
	s.events = inner.events
	b.Reject = func([]chunk.Rejection) error { return nil }
	return b, err
}

// Where the log is cut into batches, and from where it is replayed, makes no
// difference to the index: one event at a time is what a batch must equal.
func TestBatchingMakesNoDifference(t *testing.T) {
	server, err := qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		events := partitionLog(rng)
		want := applyLog(t, server.Addr(), events, 1, rng)
		for _, size := range []int{3, 12, 100} {
			if got := applyLog(t, server.Addr(), events, size, rng); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("seed %d, batches of %d:\n got %v\nwant %v", seed, size, got, want)
			}
		}
	}
}
