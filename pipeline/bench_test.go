package pipeline

import (
	"context"
	"fmt"
	"testing"

	"chunktide/chunk"
)

// What the assembly line itself costs: decoded events with a vector in the
// cache, and an index that only counts. Nanoseconds and allocations are for
// each event.
func BenchmarkLine(b *testing.B) {
	const events = 256
	for _, kind := range []string{"cached", "encoded"} {
		b.Run(kind, func(b *testing.B) {
			var l log
			batches := make([][]chunk.Event, (b.N+events-1)/events)
			line := newLine()
			line.cache.m = map[chunk.Hash]chunk.Embedding{}
			line.cache.off = kind == "encoded"
			for i := range batches {
				for k := range events {
					n := i*events + k
					e := l.put(fmt.Sprint(n%5000), fmt.Sprint("the text of the chunk, which is as long as a sentence is, number ", n), int64(n)+1)
					if kind == "cached" {
						line.cache.m[chunk.HashText(e.Text)] = chunk.Embedding{Vector: make([]float32, 3), Tokens: 20}
					}
					batches[i] = append(batches[i], e)
				}
			}
			line.source.batches = batches
			parts := line.parts()
			parts.Sink, parts.Observe = countingSink{line.sink}, nil
			b.ReportAllocs()
			b.ResetTimer()
			if err := New(line.cfg, parts).Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// countingSink stores nothing.
type countingSink struct{ *memSink }

func (countingSink) Apply(context.Context, []chunk.Point) error { return nil }
