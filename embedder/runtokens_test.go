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
	passages, err := godocs.Take(b.Context(), 512)
	if err != nil {
		b.Fatal(err)
	}
	bounds := []int{0, 256, 320, 512, 768}
	encoders := make([]*ONNX, len(bounds))
	shares := make([][]float64, len(bounds))
	for i, bound := range bounds {
		encoders[i] = open(b, func(c *Config) { c.RunTokens = bound })
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
	for i, bound := range bounds {
		slices.Sort(shares[i])
		b.ReportMetric(shares[i][len(shares[i])/2], fmt.Sprintf("of-default/%d", bound))
	}
}
