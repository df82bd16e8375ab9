package verify

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"time"

	"chunktide/chunk"
	"chunktide/sink"
)

// mirror is an index that holds what its rows say, made as it is read.
type mirror struct {
	Index
	rows func(func(chunk.Event) bool)
}

func (m mirror) Outline(_ context.Context, visit func(sink.Record) error) error {
	for e := range m.rows {
		if err := visit(sink.Record{ID: e.ID, Source: e.Source, DocumentID: e.DocumentID, ChunkID: e.ChunkID, Version: e.Version, Hash: chunk.HashText(e.Text), ModelVersion: "m"}); err != nil {
			return err
		}
	}
	return nil
}

func (mirror) Remains(context.Context, func(sink.Record) error) error { return nil }
func (mirror) Blind(context.Context, func(sink.Record) error) error   { return nil }

// A look's memory must not grow with the corpus: ten times the chunks, and the
// highest heap is reported as a ratio, which is to stay far below ten. What the
// servers take is left out.
func BenchmarkMemoryOfALook(b *testing.B) {
	for range b.N {
		var peaks [2]float64
		var took [2]float64
		for i, n := range []int{100_000, 1_000_000} {
			peaks[i], took[i] = peakOf(b, n)
		}
		b.ReportMetric(peaks[1]/peaks[0], "heap-at-10x")
		b.ReportMetric(peaks[1]/1e6, "MB-at-1M")
		b.ReportMetric(1e6/took[1], "chunks/s")
	}
}

func peakOf(b *testing.B, n int) (bytes, seconds float64) {
	rows := func(yield func(chunk.Event) bool) {
		for i := range n {
			doc, name := fmt.Sprint("d", i/10), fmt.Sprint("c", i)
			if !yield(chunk.Event{Op: chunk.Upsert, ID: chunk.NewID("s", doc, name), Source: "s", DocumentID: doc, ChunkID: name, Text: name, Version: 1}) {
				return
			}
		}
	}
	source := Rows{Events: func(context.Context) iter.Seq2[chunk.Event, error] {
		return func(yield func(chunk.Event, error) bool) {
			rows(func(e chunk.Event) bool { return yield(e, nil) })
		}
	}}
	runtime.GC()
	var start runtime.MemStats
	runtime.ReadMemStats(&start)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var most uint64
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse)
			}
		}
	}()
	begun := time.Now()
	r, err := Run(b.Context(), Parts{Source: source, Index: mirror{rows: rows}}, Options{Models: []string{"m"}, Limit: 10, Dir: b.TempDir()})
	seconds = time.Since(begun).Seconds()
	close(stop)
	most := <-peak
	if err != nil || r.Total() != 0 || r.Living != n {
		b.Fatalf("%+v, %v", r, err)
	}
	return float64(most - min(most, start.HeapInuse)), seconds
}
