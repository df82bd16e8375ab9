package embedder

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"chunktide/chunk"
)

// What the tiny model gives was computed by Python: Hugging Face's tokenizers,
// onnxruntime and numpy.
func TestPoolingAgainstPython(t *testing.T) {
	type line struct {
		Text            string
		IDs             []int64
		Mean, CLS, Last []float64
	}
	lines := readLines[line](t, "tiny-expected.jsonl")
	for _, c := range []struct {
		pooling Pooling
		want    func(line) []float64
	}{
		{PoolAuto, func(l line) []float64 { return l.Mean }},
		{PoolMean, func(l line) []float64 { return l.Mean }},
		{PoolCLS, func(l line) []float64 { return l.CLS }},
		{PoolLast, func(l line) []float64 { return l.Last }},
	} {
		e := openTiny(t, func(c2 *Config) { c2.Pooling, c2.Normalize = c.pooling, false })
		var texts []string
		for _, l := range lines {
			texts = append(texts, l.Text)
			if ids := tokenIDs(t, e, l.Text); !slices.Equal(ids, l.IDs) {
				t.Errorf("%q: ids %v, want %v", l.Text, ids, l.IDs)
			}
		}
		for i, got := range encode(t, e, texts...) {
			for j, v := range c.want(lines[i]) {
				if math.Abs(v-float64(got.Vector[j])) > 1e-5 {
					t.Fatalf("%s of %q: value %d is %v, want %v", c.pooling, texts[i], j, got.Vector[j], v)
				}
			}
			if got.Tokens != len(lines[i].IDs) || got.Tokens != e.Tokens(texts[i]) || got.Truncated {
				t.Errorf("%q: %d tokens, planned %d, truncated %v", texts[i], got.Tokens, e.Tokens(texts[i]), got.Truncated)
			}
		}
	}
}

func TestNormalizeAndDimensions(t *testing.T) {
	full := encode(t, openTiny(t, nil), "the vector index")[0].Vector
	cut := openTiny(t, func(c *Config) { c.Dimensions = 8 })
	got := encode(t, cut, "the vector index")[0].Vector
	if len(full) != 32 || len(got) != 8 || cut.Recipe().Dim != 8 {
		t.Fatalf("%d and %d values", len(full), len(got))
	}
	for name, v := range map[string][]float32{"full": full, "cut": got} {
		if n := norm(v); math.Abs(n-1) > 1e-6 {
			t.Errorf("%s: length %v", name, n)
		}
	}
	head := norm(full[:8])
	for i, v := range got {
		if math.Abs(float64(v)-float64(full[i])/head) > 1e-6 {
			t.Errorf("value %d is %v, want %v", i, v, float64(full[i])/head)
		}
	}
	// To the bit, so that what is stored can be cut in place of encoding.
	if stored, err := CutVector(full, 8); err != nil || !same(stored, got) {
		t.Errorf("the vector that is cut afterwards is %v, %v; want %v", stored, err, got)
	}
	for _, dim := range []int{0, -1, 33} {
		if _, err := CutVector(full, dim); err == nil {
			t.Errorf("cut to %d", dim)
		}
	}
	if _, err := CutVector(append(make([]float32, 8), full...), 8); err == nil {
		t.Error("a vector of zeros is no error")
	}
	_, err := NewONNX(func() Config { c := cut.cfg; c.Dimensions = 33; return c }(), nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "dimensions: ") {
		t.Errorf("more dimensions than there are: %v", err)
	}
}

func TestPrefixes(t *testing.T) {
	plain := openTiny(t, nil)
	e := openTiny(t, func(c *Config) { c.Prefix, c.QueryPrefix = "model ", "index of " })
	want := encode(t, plain, "model chunk", "index of chunk")
	if got := encode(t, e, "chunk")[0]; !same(got.Vector, want[0].Vector) || got.Tokens != e.Tokens("chunk") {
		t.Error("the document's prefix was not put before it")
	}
	got, err := e.EncodeQuery(context.Background(), "chunk")
	if err != nil || !same(got.Vector, want[1].Vector) {
		t.Errorf("the query's prefix was not put before it: %v", err)
	}
	if e.Recipe().Digest() == plain.Recipe().Digest() {
		t.Error("the prefix is not in the recipe")
	}
}

func TestOverflow(t *testing.T) {
	long, short := words(rand.New(rand.NewPCG(1, 1)), 200), "the index"
	e := openTiny(t, nil)
	out := encode(t, e, long, short)
	if out[0].Tokens != 64 || !out[0].Truncated || out[1].Truncated || e.Tokens(long) != 64 {
		t.Errorf("truncate: %d tokens, truncated %v", out[0].Tokens, out[0].Truncated)
	}

	strict := openTiny(t, func(c *Config) { c.Overflow = OverflowError })
	got, err := strict.Encode(context.Background(), []string{short, long, short})
	var rejected *chunk.Rejected
	if !errors.As(err, &rejected) || len(rejected.Texts) != 1 {
		t.Fatalf("error: %v", err)
	}
	if reason, _ := chunk.ReasonOf(rejected.Texts[1]); reason != chunk.ReasonTooManyTokens {
		t.Errorf("reason %s: %v", reason, rejected.Texts[1])
	}
	if got[1].Vector != nil || !same(got[0].Vector, out[1].Vector) || !same(got[2].Vector, out[1].Vector) {
		t.Error("the other texts were not served in their places")
	}
	if _, err := strict.TokenIDs(long); err == nil {
		t.Error("the ids of a text of too many tokens were given without an error")
	}
	if _, err := strict.EncodeQuery(context.Background(), long); err == nil {
		t.Error("a query of too many tokens was encoded")
	} else if reason, _ := chunk.ReasonOf(err); reason != chunk.ReasonTooManyTokens {
		t.Errorf("query: %v", err)
	}
}

// One poisoned text must not take its neighbours of the same run with it.
func TestNaNIsRejectedAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"model.onnx", "tokenizer.json", "config.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/tiny", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "model.onnx" {
			poison(t, data, tokenIDs(t, openTiny(t, nil), "z")[1])
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, func(c *Config) { c.ModelDir, c.ModelName = dir, "poisoned" })
	out, err := e.Encode(context.Background(), []string{"the index", "z", "a model"})
	var rejected *chunk.Rejected
	if !errors.As(err, &rejected) || len(rejected.Texts) != 1 {
		t.Fatalf("error: %v", err)
	}
	if reason, _ := chunk.ReasonOf(rejected.Texts[1]); reason != chunk.ReasonBadVector {
		t.Errorf("reason %s", reason)
	}
	good := encode(t, openTiny(t, nil), "the index", "a model")
	if !same(out[0].Vector, good[0].Vector) || out[1].Vector != nil || !same(out[2].Vector, good[1].Vector) {
		t.Error("the neighbours suffered")
	}
}

// poison makes the word vector of a token NaN, in the bytes of the model.
func poison(t *testing.T, model []byte, id int64) {
	t.Helper()
	const name, hidden = "embeddings.word_embeddings.weight", 32
	at := bytes.Index(model, []byte("\x42\x21"+name+"\x4a")) // the tensor's name, then its raw data
	if at < 0 {
		t.Fatal("testdata/tiny/model.onnx is not built as expected")
	}
	at += 2 + len(name) + 1
	_, n := binary.Uvarint(model[at:])
	row := model[at+n+int(id)*hidden*4:]
	binary.LittleEndian.PutUint32(row, math.Float32bits(float32(math.NaN())))
}

func TestConcurrentCallsAgree(t *testing.T) {
	e := openTiny(t, func(c *Config) { c.Threads, c.RunTokens = 3, 64 })
	rng := rand.New(rand.NewPCG(5, 6))
	texts := make([]string, 40)
	for i := range texts {
		texts[i] = words(rng, 1+rng.IntN(30))
	}
	want := encode(t, e, texts...)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			order := rand.New(rand.NewPCG(uint64(g), 0)).Perm(len(texts))
			mine := make([]string, len(order))
			for i, j := range order {
				mine[i] = texts[j]
			}
			got, err := e.Encode(context.Background(), mine)
			if err != nil {
				t.Error(err)
				return
			}
			for i, j := range order {
				if !same(got[i].Vector, want[j].Vector) {
					t.Errorf("text %d has another vector", j)
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingToDo(t *testing.T) {
	e := openTiny(t, nil)
	if out, err := e.Encode(context.Background(), nil); err != nil || len(out) != 0 {
		t.Errorf("%v, %v", out, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Encode(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call after the end of its context: %v", err)
	}
}

// Memory of tensors is C's: what is not destroyed is lost.
func TestTensorsAreFreed(t *testing.T) {
	e := openTiny(t, func(c *Config) { c.Threads = 2 })
	for range 2000 {
		encode(t, e, "the index", "a model of every chunk")
	}
	allDestroyed(t, e)
}

func TestMetricsCountWhatTheModelDid(t *testing.T) {
	e := openTiny(t, func(c *Config) { c.Threads = 1 })
	encode(t, e, "the index", "a")
	if _, err := e.EncodeQuery(context.Background(), "model"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want float64 }{
		"documents": {testutil.ToFloat64(e.metrics.texts.WithLabelValues(kindDocument)), 2},
		"tokens":    {testutil.ToFloat64(e.metrics.tokens.WithLabelValues(kindDocument)), 7},
		"queries":   {testutil.ToFloat64(e.metrics.texts.WithLabelValues(kindQuery)), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestProviderThatIsNotThere(t *testing.T) {
	for _, provider := range []string{ProviderCUDA, ProviderTensorRT} {
		if testing.Short() {
			t.Skip("needs what `make setup` fetches")
		}
		cfg := DefaultConfig()
		cfg.ModelDir, cfg.Provider = "testdata/tiny", provider
		_, err := NewONNX(cfg, nil, nil)
		if err == nil {
			t.Fatalf("%s works on the library for CPUs", provider)
		}
		for _, want := range []string{"provider: " + provider, "libonnxruntime_providers_" + provider + ".so", "embedder.provider to cpu"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing in: %v", want, err)
			}
		}
	}
}

func TestExplainProviderNamesTheLibraryThatIsMissing(t *testing.T) {
	cause := errors.New("Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No such file or directory")
	err := explainProvider(ProviderCUDA, "/opt/lib/libonnxruntime.so", cause)
	for _, want := range []string{"libcublasLt.so.13", "LD_LIBRARY_PATH"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

// A library is loaded once for the life of a process, so this needs its own.
func TestLibraryThatCannotLoad(t *testing.T) {
	const child = "CHUNKTIDE_TEST_BAD_LIBRARY"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLibraryThatCannotLoad$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	bad := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(bad, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.ModelDir, cfg.ONNXRuntimeLibrary = "testdata/tiny", bad
	_, err := NewONNX(cfg, nil, nil)
	for _, want := range []string{bad, "make setup", "C API 24", "onnxruntime_library"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	// A failure does not stand in the way of a good library.
	cfg.ONNXRuntimeLibrary = ""
	if library, err := FindRuntime(""); err == nil && !testing.Short() {
		cfg.ONNXRuntimeLibrary = library
		e, err := NewONNX(cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = e.Close()
	}
}

func TestNewChooses(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Encoder = EncoderBow
	e, err := New(t.Context(), cfg, nil, prometheus.NewRegistry())
	if err != nil || e.Recipe().ModelVersion() != BowName {
		t.Errorf("%v, %v", e, err)
	}
	cfg.Encoder = "?"
	if _, err := New(t.Context(), cfg, nil, nil); err == nil {
		t.Error("an unknown encoder was made")
	}
}
