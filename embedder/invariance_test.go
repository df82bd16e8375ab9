package embedder

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"chunktide/chunk"
)

// A cache by content needs every text to have one vector, whatever went
// through the model beside it, at every precision.
func TestVectorsDoNotDependOnTheBatch(t *testing.T) {
	for name, model := range map[string]struct {
		open    func(testing.TB, func(*Config)) *ONNX
		texts   int
		longest int
	}{
		"tiny":        {openTiny, 200, 12},
		"tiny int8":   {openTinyInt8, 200, 12},
		"MiniLM":      {open, 24, 200},
		"MiniLM fp16": {openFP16, 12, 200},
		"MiniLM int8": {openInt8, 24, 200},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 8))
			texts := make([]string, model.texts)
			for i := range texts {
				texts[i] = words(rng, 1+rng.IntN(model.longest))
			}
			alone := model.open(t, func(c *Config) { c.Threads = 1 })
			want := make([]chunk.Embedding, len(texts))
			for i, s := range texts {
				want[i] = encode(t, alone, s)[0]
			}
			for _, variant := range []struct {
				runTokens, threads, intra, sessions int
				arena                               bool
				call                                int
			}{
				{512, 1, 1, 1, false, 7}, {512, 2, 1, 1, false, 100}, {1 << 20, 1, 1, 1, false, 3}, {1 << 20, 1, 2, 1, false, 100},
				{2048, 2, 1, 2, false, 33}, {512, 2, 2, 1, true, 20}, {1 << 20, 3, 3, 3, true, 100},
			} {
				e := model.open(t, func(c *Config) {
					c.RunTokens, c.Threads, c.IntraThreads = variant.runTokens, variant.threads, variant.intra
					c.Sessions, c.Arena = variant.sessions, variant.arena
				})
				order := rng.Perm(len(texts))
				for part := range slices.Chunk(order, variant.call) {
					mine := make([]string, len(part))
					for i, j := range part {
						mine[i] = texts[j]
					}
					for i, got := range encode(t, e, mine...) {
						if !same(got.Vector, want[part[i]].Vector) {
							t.Errorf("%+v: text %d has another vector", variant, part[i])
						}
					}
				}
			}
			if !t.Failed() {
				control(t, alone)
			}
		})
	}
}

// control shows that the test above can fail: padding that the mask does not
// hide changes the vector.
func control(t *testing.T, e *ONNX) {
	t.Helper()
	const s = "the index"
	want := encode(t, e, s)[0]
	ids := tokenIDs(t, e, s)
	tokens := len(ids)
	ids = append(ids, e.words.PadID(), e.words.PadID(), e.words.PadID())
	r := run{texts: []text{{ids: ids}}, length: len(ids)}
	err := e.models[0].run(t.Context(), r, func(out []float32) {
		v, err := pooled(e.recipe, out, tokens, e.sig.hidden)
		if err != nil || same(v, want.Vector) {
			t.Errorf("visible padding did not change the vector: %v", err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// The vectors of sentence-transformers.
func TestMiniLMGolden(t *testing.T) {
	e := open(t, nil)
	type line struct {
		Text   string
		Vector []float64
	}
	lines := readLines[line](t, "minilm-l6-v2-embeddings.jsonl")
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.Text
	}
	worst := 1.0
	for i, got := range encode(t, e, texts...) {
		c := cosine(got.Vector, lines[i].Vector)
		worst = min(worst, c)
		if c < 0.9999 {
			t.Errorf("text %d: cosine %.6f", i, c)
		}
	}
	t.Logf("%s: worst cosine of %d texts %.7f", e.Recipe().ModelVersion(), len(texts), worst)
	if r := e.Recipe(); r.Dim != 384 || r.MaxTokens != 256 || r.Pooling != PoolMean || r.Name != DefaultModel {
		t.Errorf("recipe %+v", r)
	}
}

// The model that `make setup` builds is the same everywhere, so everybody
// has the same model_version. It changes with the recipe only.
func TestMiniLMModelVersion(t *testing.T) {
	const want = "all-MiniLM-L6-v2@eccf0ee3943b"
	if got := open(t, nil).Recipe().ModelVersion(); got != want {
		t.Errorf("model_version %s, want %s", got, want)
	}
}

func TestCancelStopsARun(t *testing.T) {
	e := open(t, func(c *Config) { c.RunTokens, c.Threads = 1<<20, 1 })
	texts := make([]string, 48)
	for i := range texts {
		texts[i] = words(rand.New(rand.NewPCG(uint64(i), 9)), 240)
	}
	start := time.Now()
	want := encode(t, e, texts...)
	whole := time.Since(start)

	ctx, cancel := context.WithTimeout(context.Background(), whole/8)
	defer cancel()
	start = time.Now()
	_, err := e.Encode(ctx, texts)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > whole*3/4 {
		t.Errorf("canceled after %v it ended after %v of %v: %v", whole/8, took, whole, err)
	}
	if again := encode(t, e, texts[0]); !same(again[0].Vector, want[0].Vector) {
		t.Error("the encoder is not what it was before the cancelled run")
	}
	allDestroyed(t, e)
}

// BenchmarkSessions compares ways to share the cores: in each round each
// setting encodes the same texts, in an order that rotates, and its figure is
// the median of its speed over the default's in the same round. It takes ten
// rounds or more (-benchtime 15x) to say anything.
func BenchmarkSessions(b *testing.B) {
	cores := runtime.GOMAXPROCS(0)
	settings := []struct {
		name   string
		change func(*Config)
	}{
		{"default", nil},
		{"a-session-each", func(c *Config) { c.Sessions = cores }},
		{"one-run-on-all-cores", func(c *Config) { c.Threads, c.IntraThreads = 1, cores }},
		{"all-runs-on-all-cores", func(c *Config) { c.Threads, c.IntraThreads = cores, cores }},
		{"arena", func(c *Config) { c.Arena = true }},
		{"unoptimized", func(c *Config) { c.Optimization = OptimizationNone }},
		{"one-thread-more", func(c *Config) { c.Threads = cores + 1 }},
	}
	texts := mixed(60)
	encoders := make([]*ONNX, len(settings))
	shares := make([][]float64, len(settings))
	for i, s := range settings {
		encoders[i] = open(b, s.change)
		encode(b, encoders[i], texts...)
	}
	for round := 0; b.Loop(); round++ {
		times := make([]float64, len(settings))
		for k := range settings {
			i := (k + round) % len(settings)
			start := time.Now()
			encode(b, encoders[i], texts...)
			times[i] = time.Since(start).Seconds()
		}
		for i, t := range times {
			shares[i] = append(shares[i], times[0]/t)
		}
	}
	for i, s := range settings {
		sorted := slices.Sorted(slices.Values(shares[i]))
		b.ReportMetric((sorted[(len(sorted)-1)/2]+sorted[len(sorted)/2])/2, s.name)
	}
}

func BenchmarkMixedLengths(b *testing.B) {
	texts := mixed(600)
	for name, change := range map[string]func(*Config){
		"default":     nil,
		"run=256":     func(c *Config) { c.RunTokens = 256 },
		"run=1024":    func(c *Config) { c.RunTokens = 1024 },
		"run=4096":    func(c *Config) { c.RunTokens = 4096 },
		"one at once": func(c *Config) { c.Threads = 1 },
	} {
		b.Run(name, func(b *testing.B) {
			e := open(b, change)
			tokens, padded := 0, 0
			for b.Loop() {
				for _, out := range encode(b, e, texts...) {
					tokens += out.Tokens
				}
			}
			c := e.newCall(len(texts))
			todo, err := c.tokenize(context.Background(), texts, "")
			if err != nil {
				b.Fatal(err)
			}
			once := 0
			for _, t := range todo {
				once += len(t.ids)
			}
			for _, r := range plan(todo, e.shapes) {
				padded += r.padded()
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(len(texts)*b.N)/b.Elapsed().Seconds(), "texts/s")
			b.ReportMetric(100*float64(padded-once)/float64(padded), "padding-%")
			b.ReportMetric(float64(once)/float64(len(texts)), "tokens/text")
		})
	}
}
