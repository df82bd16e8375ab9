//go:build synctests

package inprocess

import (
	"context"
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/pipeline"
)

// What follows takes one safety out of a worker each. It stands between parts
// of the real one.

// swallowRefusals takes a refused write for a done one.
func swallowRefusals(p *pipeline.Parts) { p.Sink = swallowing{p.Sink} }

type swallowing struct{ pipeline.Sink }

func (s swallowing) Apply(ctx context.Context, points []chunk.Point) error {
	err := s.Sink.Apply(ctx, points)
	if _, permanent := chunk.ReasonOf(err); err != nil && permanent {
		return nil
	}
	return err
}

// ackInNext acknowledges a batch when it is handed out, as a consumer does that
// commits what it has polled.
func ackInNext(p *pipeline.Parts) { p.Source = acking{p.Source} }

type acking struct{ pipeline.Source }

func (a acking) Next(ctx context.Context) (chunk.Batch, error) {
	b, err := a.Source.Next(ctx)
	if err == nil {
		b.Ack()
		b.Ack = func() {}
	}
	return b, err
}

// skipBatch passes one batch over whenever skip is set, as a consumer does that
// goes on at the end of the log when it has lost its place.
func skipBatch(skip *atomic.Bool) func(*pipeline.Parts) {
	return func(p *pipeline.Parts) { p.Source = skipping{p.Source, skip} }
}

type skipping struct {
	pipeline.Source
	skip *atomic.Bool
}

func (s skipping) Next(ctx context.Context) (chunk.Batch, error) {
	b, err := s.Source.Next(ctx)
	if err == nil && s.skip.CompareAndSwap(true, false) {
		b.Ack()
		return s.Source.Next(ctx)
	}
	return b, err
}

// trustRedis takes what lies in Redis without looking at it.
func (w *world) trustRedis(p *pipeline.Parts) { p.Cache = trusting{p.Cache.(*cache.Cache), w} }

type trusting struct {
	*cache.Cache
	w *world
}

func (c trusting) Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding {
	raw := make([]chunk.Embedding, len(hashes))
	for i, hash := range hashes {
		value, err := c.w.stack.Redis.DB(0).Get(c.Key(hash))
		if err != nil {
			continue
		}
		for b := []byte(value[cachedHeader : len(value)-cachedSum]); len(b) > 0; b = b[4:] {
			raw[i].Vector = append(raw[i].Vector, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
	}
	return raw
}

// insistOnRedis waits for Redis as long as it takes.
func (w *world) insistOnRedis(p *pipeline.Parts) { p.Cache = insisting{p.Cache, w} }

type insisting struct {
	pipeline.Cache
	w *world
}

func (c insisting) Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding {
	out := c.Cache.Get(ctx, hashes)
	if left := time.Until(c.w.slowUntil()); left > 0 {
		pause(ctx, left)
		out = c.Cache.Get(ctx, hashes)
	}
	return out
}

// forgetAll keeps no vector.
func forgetAll(p *pipeline.Parts) { p.Cache = forgetting{} }

type forgetting struct{}

func (forgetting) Get(_ context.Context, hashes []chunk.Hash) []chunk.Embedding {
	return make([]chunk.Embedding, len(hashes))
}

func (forgetting) Put(_ context.Context, _ []chunk.Hash, e []chunk.Embedding) []chunk.Embedding {
	return e
}
