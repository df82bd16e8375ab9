package cache

import (
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"chunktide/chunk"
	"chunktide/devstack/realservers"
)

// A vector handed out is the caller's: changing it changes nothing else. Nor
// does changing what was given to Put.
func TestVectorsAreNotShared(t *testing.T) {
	c, err := New(DefaultConfig(), testDigest, testDim, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	hashes, es := embeddings(1)
	_, want := embeddings(1)
	put := c.Put(t.Context(), hashes, es)
	clear(es[0].Vector)
	wantSame(t, "what Put returned", put, want)
	clear(put[0].Vector)
	got := c.Get(t.Context(), hashes)
	wantSame(t, "after a change of what was put", got, want)
	clear(got[0].Vector)
	wantSame(t, "after a change of what was got", c.Get(t.Context(), hashes), want)
}

// What is no vector is returned as it came and kept nowhere.
func TestPutOfInvalidVectors(t *testing.T) {
	m := miniredis.RunT(t)
	cfg := DefaultConfig()
	cfg.URL = chunk.Secret("redis://" + m.Addr())
	c, err := New(cfg, testDigest, testDim, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hashes, es := embeddings(4)
	es[0].Vector = make([]float32, testDim)
	es[2].Vector = es[2].Vector[1:]
	wantSame(t, "put", c.Put(t.Context(), hashes, es), es)
	got := c.Get(t.Context(), hashes)
	wantSame(t, "get", got, []chunk.Embedding{{}, es[1], {}, es[3]})
	if len(m.Keys()) != 2 || testutil.ToFloat64(c.metrics.stores[refused]) != 2 {
		t.Errorf("keys %v", m.Keys())
	}
}

// Damaged memory is noticed, too, and Redis asked instead.
func TestCorruptMemoryIsAMiss(t *testing.T) {
	m := miniredis.RunT(t)
	cfg := DefaultConfig()
	cfg.URL = chunk.Secret("redis://" + m.Addr())
	c, err := New(cfg, testDigest, testDim, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hashes, es := embeddings(1)
	c.Put(t.Context(), hashes, es)
	c.memory.get(hashes[0])[20] ^= 1
	wantSame(t, "get", c.Get(t.Context(), hashes), es)
	if got := testutil.ToFloat64(c.metrics.memory[corrupt]); got != 1 {
		t.Errorf("%v counted", got)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	c, err := New(DefaultConfig(), testDigest, testDim, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{
		"chunktide_cache_lookups_total": 8, "chunktide_cache_stores_total": 4, "chunktide_cache_up": 1,
		"chunktide_cache_memory_bytes": 1, "chunktide_cache_memory_entries": 1,
	}
	for name, want := range series {
		if got, err := testutil.GatherAndCount(reg, name); err != nil || got != want {
			t.Errorf("%s has %d series from the start, want %d (%v)", name, got, want, err)
		}
	}
	hashes, es := embeddings(5)
	c.Put(t.Context(), hashes[:3], es[:3])
	c.Get(t.Context(), hashes)
	err = testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP chunktide_cache_memory_entries Vectors in the cache's memory tier.
# TYPE chunktide_cache_memory_entries gauge
chunktide_cache_memory_entries 3
`), "chunktide_cache_memory_entries")
	if err != nil {
		t.Error(err)
	}
	if h, m := testutil.ToFloat64(c.metrics.memory[hit]), testutil.ToFloat64(c.metrics.memory[miss]); h != 3 || m != 2 {
		t.Errorf("%v hits and %v misses, want 3 and 2", h, m)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Readers and writers at once, with evictions and with Redis going away.
func TestConcurrently(t *testing.T) {
	m := miniredis.RunT(t)
	cfg := DefaultConfig()
	cfg.URL = chunk.Secret("redis://" + m.Addr())
	cfg.MemoryBytes = 10_000
	c, err := New(cfg, testDigest, testDim, nil, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hashes, es := embeddings(100)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 60 {
				from := (g*17 + i*7) % 80
				for k, e := range c.Get(t.Context(), hashes[from:from+20]) {
					if e.Vector != nil && !same(e, es[from+k]) {
						t.Error("a foreign vector")
					}
				}
				c.Put(t.Context(), hashes[from:from+20], es[from:from+20])
				switch {
				case g == 0 && i == 20:
					m.FlushAll()
				case g == 0 && i == 40:
					m.SetError("LOADING Redis is loading the dataset in memory")
				}
				c.Size()
			}
		})
	}
	wg.Wait()
}

func BenchmarkCodec(b *testing.B) {
	hash := chunk.HashText("a text")
	e := chunk.Embedding{Vector: unitVector(1, 384), Tokens: 9}
	for _, d := range []string{"fp32", "fp16"} {
		t, _ := parseDType(d)
		c := newCodec(t, 384, testDigest)
		value, err := c.encode(hash, e)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encode/"+d, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			for b.Loop() {
				if _, err := c.encode(hash, e); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode/"+d, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			for b.Loop() {
				if _, err := c.decode(hash, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A micro-batch of 256 texts, all known, at 384 dimensions.
func BenchmarkGet256(b *testing.B) {
	bench := func(name, url string, memory int64) {
		cfg := DefaultConfig()
		cfg.URL, cfg.MemoryBytes = chunk.Secret(url), memory
		b.Run(name, func(b *testing.B) {
			c, err := New(cfg, testDigest, 384, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			hashes, es := make([]chunk.Hash, 256), make([]chunk.Embedding, 256)
			for i := range hashes {
				hashes[i], es[i].Vector = numbered(uint64(i)), unitVector(uint64(i), 384)
			}
			c.Put(b.Context(), hashes, es)
			for b.Loop() {
				if got := c.Get(b.Context(), hashes); got[255].Vector == nil {
					b.Fatal("a miss")
				}
			}
		})
	}
	bench("memory", "", 1<<20)
	bench("miniredis", "redis://"+miniredis.RunT(b).Addr(), 0)
	bench("redis", realservers.RunRedis(b, realservers.RedisOptions{}).URL(), 0)
}
