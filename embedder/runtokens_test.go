package embedder

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"chunktide/devstack/godocs"
)

// processorTime is what this process has used so far, in seconds.
func processorTime(tb testing.TB) float64 {
	tb.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(r.Utime) + seconds(r.Stime)
}

// BenchmarkRunTokens compares bounds of a run on batches as a worker has them:
// processor time over that of the default, the median of the rounds (-benchtime
// 3x or more).
func BenchmarkRunTokens(b *testing.B) {
	compareCosts(b, []int{0, 256, 320, 512, 768}, func(bound int) *ONNX {
		return open(b, func(c *Config) { c.RunTokens = bound })
	})
}

// BenchmarkPerRun compares what a run is taken to cost of its own, over what it
// is taken to cost by default.
func BenchmarkPerRun(b *testing.B) {
	compareCosts(b, []int{cpuPerRun, 0, 4, 8, 32, 64, 1 << 20}, func(tokens int) *ONNX {
		e := open(b, nil)
		e.shapes.perRun = tokens
		return e
	})
}

// compareCosts has an encoder for each value do the same work in turns. The
// first is the default.
func compareCosts(b *testing.B, values []int, of func(int) *ONNX) {
	passages, err := godocs.Take(b.Context(), 512)
	if err != nil {
		b.Fatal(err)
	}
	encoders := make([]*ONNX, len(values))
	shares := make([][]float64, len(values))
	for i, v := range values {
		encoders[i] = of(v)
	}
	for b.Loop() {
		var first float64
		for i, e := range encoders {
			began := processorTime(b)
			for batch := range slices.Chunk(passages, 256) {
				texts := make([]string, len(batch))
				for k := range batch {
					texts[k] = batch[k].Text
				}
				encode(b, e, texts...)
			}
			took := processorTime(b) - began
			if i == 0 {
				first = took
			}
			shares[i] = append(shares[i], took/first)
		}
	}
	for i, v := range values {
		slices.Sort(shares[i])
		b.ReportMetric(shares[i][len(shares[i])/2], fmt.Sprintf("of-default/%d", v))
	}
}
