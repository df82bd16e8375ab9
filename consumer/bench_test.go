package consumer

import (
	"slices"
	"testing"
)

// BenchmarkSource reads, batches, acknowledges and commits records of 400
// bytes against an in-process broker.
func BenchmarkSource(b *testing.B) {
	w := newWorld(b, 4)
	value := string(make([]byte, 400))
	for sent := 0; sent < b.N; sent += 1000 {
		w.produce(b, int32(sent/1000%4), slices.Repeat([]string{value}, min(1000, b.N-sent))...)
	}
	s := w.open(b, w.config())
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		batch := next(b, s)
		n += len(batch.Events)
		batch.Ack()
	}
}
