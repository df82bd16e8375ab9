package service

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"chunktide/embedder"
)

// BenchmarkServed compares a worker that uses the service over loopback with
// one that loads the model itself, on the same texts, in turns: served/direct
// is the share of the encoder's throughput that remains. busy-query/batch is
// how long a query takes beside a flood of documents, in times of a batch.
func BenchmarkServed(b *testing.B) {
	e := openTiny(b, func(c *embedder.Config) { c.ModelDir = "" }) // the model that `make setup` fetches
	s := start(b, nil, nil, e)
	r := remote(b, listen(b, s), nil)
	rng := rand.New(rand.NewPCG(5, 6))
	texts := make([]string, 256)
	for i := range texts {
		texts[i] = strings.Repeat("the vector index of a corpus ", 1+rng.IntN(12))
	}
	once := func(e embedder.Encoder) time.Duration {
		began := time.Now()
		if _, err := e.Encode(b.Context(), texts); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	once(e)
	var direct, through, queries time.Duration
	asked := 0
	for b.Loop() {
		direct += once(e)
		through += once(r)
		var flood sync.WaitGroup
		flood.Go(func() { once(r) })
		began := time.Now()
		for range 5 {
			if _, err := r.EncodeQuery(b.Context(), "how do I reset my password"); err != nil {
				b.Fatal(err)
			}
			asked++
		}
		queries += time.Since(began)
		flood.Wait()
	}
	tokens := 0
	for _, t := range texts {
		tokens += e.Tokens(t)
	}
	batch := direct.Seconds() / float64(b.N) * float64(DefaultConfig().BatchTokens) / float64(tokens)
	b.ReportMetric(direct.Seconds()/through.Seconds(), "served/direct")
	b.ReportMetric(queries.Seconds()/float64(asked)/batch, "busy-query/batch")
}
