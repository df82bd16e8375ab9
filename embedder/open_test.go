package embedder

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/chunk"
)

// open loads a model; it fails the test where `make setup` was not run.
func open(t testing.TB, change func(*Config)) *ONNX {
	t.Helper()
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := NewONNX(cfg, nil, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// openTiny loads the random model of testdata/tiny, which
// `python3 tools/setup/tiny_bert.py embedder/testdata/tiny` wrote.
func openTiny(t testing.TB, change func(*Config)) *ONNX {
	t.Helper()
	return open(t, func(c *Config) {
		c.ModelDir = "testdata/tiny"
		if change != nil {
			change(c)
		}
	})
}

func encode(t testing.TB, e Encoder, texts ...string) []chunk.Embedding {
	t.Helper()
	out, err := e.Encode(context.Background(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(texts) {
		t.Fatalf("%d embeddings for %d texts", len(out), len(texts))
	}
	return out
}

// allDestroyed checks what C holds for the encoder while nothing runs.
func allDestroyed(t testing.TB, e *ONNX) {
	t.Helper()
	for _, m := range e.models {
		if n := m.(*session).alive.Load(); n != 0 {
			t.Errorf("%d tensors or options of runs were never destroyed", n)
		}
	}
}

func tokenIDs(t testing.TB, e Encoder, text string) []int64 {
	t.Helper()
	ids, err := e.TokenIDs(text)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// words makes a text of n words; the same seed makes the same text.
func words(rng *rand.Rand, n int) string {
	list := strings.Fields("the index keeps a vector of every chunk and model in its log while readers ask for documents " +
		"that producers changed since morning offset partition commit replay batch tokens pooling cosine distance")
	var b strings.Builder
	for range n {
		b.WriteString(list[rng.IntN(len(list))])
		b.WriteByte(' ')
	}
	return b.String()
}

// mixed is a workload of mixed lengths, log-normal: at about 1.05 tokens a
// word, mean 50 tokens, 95th percentile 180.
func mixed(n int) []string {
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([]string, n)
	for i := range out {
		length := math.Exp(3.2 + 1.15*rng.NormFloat64())
		out[i] = words(rng, int(min(max(length, 1), 240)))
	}
	return out
}

func readLines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func cosine(a []float32, b []float64) float64 {
	var dot, aa, bb float64
	for i := range a {
		x := float64(a[i])
		dot, aa, bb = dot+x*b[i], aa+x*x, bb+b[i]*b[i]
	}
	return dot / math.Sqrt(aa*bb)
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
