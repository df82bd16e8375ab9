package embedder

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// openKept opens the tiny model with a graph cache, and returns what it logs.
func openKept(t *testing.T, dir string, change func(*Config)) (*ONNX, string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	cfg := DefaultConfig()
	cfg.ModelDir, cfg.GraphCache, cfg.Threads = "testdata/tiny", dir, 1
	if change != nil {
		change(&cfg)
	}
	var log bytes.Buffer
	e, err := NewONNX(cfg, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e, log.String()
}

// kept is the one graph in dir.
func kept(t *testing.T, dir string) (path string, data []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.graph"))
	all, _ := os.ReadDir(dir)
	if err != nil || len(files) != 1 || len(all) != 1 {
		t.Fatalf("the folder holds %v and %d files: %v", files, len(all), err)
	}
	if data, err = os.ReadFile(files[0]); err != nil {
		t.Fatal(err)
	}
	return files[0], data
}

// resign gives a graph a header that fits it.
func resign(t *testing.T, path string, change func(graph []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, graph, _ := bytes.Cut(data, []byte("\n"))
	fresh := filepath.Join(t.TempDir(), "graph")
	if err := os.WriteFile(fresh, change(bytes.Clone(graph)), 0o600); err != nil {
		t.Fatal(err)
	}
	var h graphHeader
	if err := json.Unmarshal(line, &h); err != nil {
		t.Fatal(err)
	}
	if err := (&graphCache{path: path, key: h.Key}).keep(fresh); err != nil {
		t.Fatal(err)
	}
}

func TestAKeptGraphGivesTheSameVectors(t *testing.T) {
	dir := t.TempDir()
	texts := []string{"the index", "a model of every chunk", "z"}
	want := encode(t, openTiny(t, nil), texts...)
	check := func(what string, e *ONNX) {
		t.Helper()
		for i, got := range encode(t, e, texts...) {
			if !same(got.Vector, want[i].Vector) {
				t.Errorf("%s: text %d has another vector", what, i)
			}
		}
	}
	first, log := openKept(t, dir, nil)
	check("the first start", first)
	path, data := kept(t, dir)
	again, more := openKept(t, dir, func(c *Config) { c.Sessions, c.Threads = 2, 2 })
	check("the second", again)
	if log+more != "" {
		t.Errorf("warned: %s%s", log, more)
	}

	// The control: it is the kept graph that the second start used.
	resign(t, path, func(graph []byte) []byte {
		at := bytes.Index(graph, []byte("embeddings.word_embeddings.weight"))
		if at < 0 {
			t.Fatal("the graph is not built as expected")
		}
		for i := range 4096 {
			graph[len(graph)/2+i] ^= 0x10
		}
		return graph
	})
	other, _ := openKept(t, dir, nil)
	changed := false
	for i, got := range encode(t, other, texts...) {
		changed = changed || !same(got.Vector, want[i].Vector)
	}
	if !changed {
		t.Error("a changed graph, well signed, changes nothing: is the cache used at all?")
	}

	for what, bad := range map[string][]byte{
		"cut off":       data[:len(data)-100],
		"a bit changed": append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1),
		"no graph":      []byte("hello"),
		"empty":         {},
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		e, log := openKept(t, dir, nil)
		check(what, e)
		if _, now := kept(t, dir); !bytes.Equal(now, data) || !strings.Contains(log, "made anew") {
			t.Errorf("%s: it was not made anew: %s", what, log)
		}
	}
}

// Neither another model's graph nor another level's is taken, whatever its
// name is.
func TestAForeignGraphIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	openKept(t, dir, nil)
	path, data := kept(t, dir)
	elsewhere := t.TempDir()
	openKept(t, elsewhere, func(c *Config) { c.Optimization = OptimizationBasic })
	_, foreign := kept(t, elsewhere)
	if err := os.WriteFile(path, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	_, log := openKept(t, dir, nil)
	if _, now := kept(t, dir); !bytes.Equal(now, data) || !strings.Contains(log, "another model") {
		t.Errorf("it was not made anew: %s", log)
	}
	// A graph that is signed, and that ONNX Runtime cannot load.
	resign(t, path, func([]byte) []byte { return []byte("no graph") })
	if _, log = openKept(t, dir, nil); !strings.Contains(log, "made anew") {
		t.Errorf("a graph that cannot be loaded: %s", log)
	}
	if _, now := kept(t, dir); !bytes.Equal(now, data) {
		t.Error("it was not made anew")
	}
}

func TestWorkersShareAGraphCache(t *testing.T) {
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.ModelDir, cfg.GraphCache = "testdata/tiny", dir
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			e, err := NewONNX(cfg, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = e.Close()
		})
	}
	wg.Wait()
	kept(t, dir)
	if _, log := openKept(t, dir, nil); log != "" {
		t.Error(log)
	}
	if _, err := newGraphCache(cfg, Digest{}, []DataFile{{Name: "weights"}}, nil); err == nil || !strings.HasPrefix(err.Error(), "graph_cache: ") {
		t.Errorf("weights in other files: %v", err)
	}
}

// BenchmarkStart compares starts with and without a kept graph, in turns.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	start := func(cache string) time.Duration {
		begin := time.Now()
		cfg := DefaultConfig()
		cfg.ModelDir, cfg.GraphCache = os.Getenv("CHUNKTIDE_TEST_MODEL_DIR"), cache
		e, err := NewONNX(cfg, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(begin)
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		return took
	}
	start(dir) // keeps it
	var with, without time.Duration
	for b.Loop() {
		without += start("")
		with += start(dir)
	}
	b.ReportMetric(with.Seconds()/float64(b.N), "s-kept")
	b.ReportMetric(without.Seconds()/float64(b.N), "s-optimized")
	b.ReportMetric(with.Seconds()/without.Seconds(), "kept/optimized")
}
