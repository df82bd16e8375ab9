package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
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

// sliceSource hands out events in batches of random size.
type sliceSource struct {
	events []chunk.Event
	rng    *rand.Rand
	most   int // events in a batch
}

func (s *sliceSource) Next(context.Context) (chunk.Batch, error) {
	if len(s.events) == 0 {
		return chunk.Batch{}, io.EOF
	}
	n := min(len(s.events), 1+s.rng.IntN(s.most))
	b := chunk.Batch{
		Events: s.events[:n], Ack: func() {},
		Reject: func(r []chunk.Rejection) error { return fmt.Errorf("nothing is to be rejected: %w", r[0].Err) },
	}
	s.events = s.events[n:]
	return b, nil
}

// randomLife is a shuffled log of versioned events, some of them twice, and
// what a chunk's highest version says of it.
func randomLife(rng *rand.Rand) (events []chunk.Event, alive map[chunk.ID]string) {
	type state struct {
		version chunk.Version
		text    string
		doc     int
	}
	best, deleted := map[chunk.ID]state{}, map[int]chunk.Version{}
	for v := chunk.Version(2); v < 90; v++ {
		doc := rng.IntN(3)
		e := chunk.Event{
			Op: chunk.Upsert, Source: "s", DocumentID: fmt.Sprint("d", doc), ChunkID: fmt.Sprint(rng.IntN(5)),
			Version: v, Time: time.UnixMilli(int64(v)), Text: fmt.Sprint("text ", rng.IntN(20)),
			Origin: chunk.Origin{Topic: "t", Partition: int32(rng.IntN(4)), Offset: int64(v)},
		}
		e.ID = chunk.NewID(e.Source, e.DocumentID, e.ChunkID)
		switch rng.IntN(8) {
		case 0:
			e.Op, e.Text = chunk.Delete, ""
		case 1:
			e.Op, e.Text, e.ChunkID = chunk.DeleteDocument, "", ""
			e.ID = chunk.NewDocumentID(e.Source, e.DocumentID)
			deleted[doc] = v
		}
		if e.Op != chunk.DeleteDocument {
			best[e.ID] = state{v, e.Text, doc}
		}
		for range 1 + rng.IntN(2) {
			events = append(events, e)
		}
	}
	rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	alive = map[chunk.ID]string{}
	for id, s := range best {
		if s.text != "" && s.version >= deleted[s.doc] {
			alive[id] = s.text
		}
	}
	return events, alive
}

// Two workers of two groups apply the same history to one collection, each in
// an order of its own, at the same time: the index ends in what the versions
// say, whatever came first.
func TestAnyOrderAndTwoGroupsConverge(t *testing.T) {
	addr := os.Getenv("CHUNKTIDE_TEST_QDRANT")
	seeds := uint64(8)
	if addr == "" {
		server, err := qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		addr, seeds = server.Addr(), 60
	}
	encoder := embedder.NewBow("", nil)
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 3))
		events, alive := randomLife(rng)
		cfg := sink.DefaultConfig()
		cfg.Address, cfg.Index = addr, fmt.Sprintf("converge-%d-%d", time.Now().UnixNano(), seed)
		dropIndexAfter(t, cfg)
		var wg sync.WaitGroup
		for group := range uint64(2) {
			index, err := sink.Open(t.Context(), cfg, worker.ModelPin(encoder.Recipe()), slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Fatal(err)
			}
			memory, err := cache.New(cache.DefaultConfig(), encoder.Recipe().Digest(), encoder.Recipe().Dim, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			mine := append([]chunk.Event(nil), events...)
			order := rand.New(rand.NewPCG(seed, group))
			order.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
			line := pipeline.New(pipeline.DefaultConfig(), pipeline.Parts{
				Source: &sliceSource{mine, order, 15}, Encoder: encoder, Cache: memory, Sink: index, Logger: slog.New(slog.DiscardHandler),
			})
			wg.Go(func() {
				if err := line.Run(context.WithoutCancel(t.Context())); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			})
			t.Cleanup(func() { _ = index.Close() })
		}
		wg.Wait()
		index, err := sink.OpenReader(t.Context(), cfg, worker.ModelPin(encoder.Recipe()), slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[chunk.ID]string{}
		err = index.Scroll(t.Context(), func(r sink.Record) error {
			if !r.Tombstone {
				got[r.ID] = r.Text
			}
			return nil
		})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(alive) {
			t.Errorf("seed %d: %v\n got %v\nwant %v", seed, err, got, alive)
		}
		_ = index.Close()
	}
}
