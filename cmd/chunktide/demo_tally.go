package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"chunktide/chunk"
	"chunktide/pipeline"
)

// tally counts what a running pipeline reports, and lets others wait for it.
type tally struct {
	mu      sync.Mutex
	changed chan struct{}
	counts
	// written counts the acknowledged upserts of each chunk_id, and vectors
	// keeps the different vectors that they stored.
	written map[string]int
	vectors map[string]map[string]bool
}

// counts are the sums over all batches so far.
type counts struct {
	events, upserts, encoded, tokens, rejected int
	freshness                                  []time.Duration
}

func newTally() *tally {
	return &tally{changed: make(chan struct{}), written: map[string]int{}, vectors: map[string]map[string]bool{}}
}

func (t *tally) observe(r pipeline.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	points := make(map[chunk.ID]*chunk.Point, len(r.Points))
	for i := range r.Points {
		points[r.Points[i].ID] = &r.Points[i]
	}
	for i := range r.Events {
		e := &r.Events[i]
		t.events++
		t.freshness = append(t.freshness, r.Durable.Sub(e.Time))
		if e.Op != chunk.Upsert {
			continue
		}
		t.upserts++
		if p := points[e.ID]; p != nil {
			t.written[e.ChunkID]++
			if t.vectors[e.ChunkID] == nil {
				t.vectors[e.ChunkID] = map[string]bool{}
			}
			t.vectors[e.ChunkID][fmt.Sprint(p.Embedding.Vector)] = true
		}
	}
	t.encoded += r.Encoded
	t.tokens += r.Tokens
	t.rejected += r.Rejected
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *tally) now() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// wait returns once n events are settled, or when ctx or the worker ends.
func (t *tally) wait(ctx context.Context, n int, ended <-chan struct{}, tick func(counts)) error {
	for {
		t.mu.Lock()
		c, changed := t.counts, t.changed
		t.mu.Unlock()
		tick(c)
		if c.events >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ended:
			return fmt.Errorf("the worker ended after %d of %d events", c.events, n)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
