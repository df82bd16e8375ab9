package service

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/chunk"
	"chunktide/embedder"
)

// gated is an encoder whose batches a test can delay, refuse and look at.
type gated struct {
	embedder.SequenceEncoder
	// before runs ahead of each batch; its error is the batch's.
	before func(ctx context.Context, batch []embedder.Sequence) error

	mu      sync.Mutex
	batches [][]embedder.Sequence
}

func (g *gated) EncodeSequences(ctx context.Context, batch []embedder.Sequence) ([]chunk.Embedding, error) {
	g.mu.Lock()
	g.batches = append(g.batches, batch)
	g.mu.Unlock()
	if g.before != nil {
		if err := g.before(ctx, batch); err != nil {
			return nil, err
		}
	}
	return g.SequenceEncoder.EncodeSequences(ctx, batch)
}

func bow(name string) *gated { return &gated{SequenceEncoder: embedder.NewBow(name, nil)} }

// takes makes every batch last for d.
func takes(d time.Duration) func(context.Context, []embedder.Sequence) error {
	return func(context.Context, []embedder.Sequence) error {
		time.Sleep(d)
		return nil
	}
}

// start makes a service that is drained at the test's end.
func start(t testing.TB, change func(*Config), aliases Aliases, encoders ...embedder.SequenceEncoder) *Service {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	s, err := New(cfg, Options{Encoders: encoders, Aliases: aliases, Version: "test", Registerer: reg, Gatherer: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// post sends a body and returns the answer.
func post(ctx context.Context, s http.Handler, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func get(t testing.TB, s http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

// openAI is an answer of /v1/embeddings as a client reads it.
type openAI struct {
	Object string
	Model  string
	Data   []struct {
		Object    string
		Index     int
		Embedding json.RawMessage
		Tokens    int
		Truncated bool
	}
	Usage struct {
		PromptTokens int `json:"prompt_tokens"`
		TotalTokens  int `json:"total_tokens"`
	}
	Error struct {
		Message, Type, Code string
		Param               *string
		Rejected            []struct {
			Index  int
			Reason string
		}
	}
}

func read(t testing.TB, w *httptest.ResponseRecorder) (out openAI) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%d: %v in %.200s", w.Code, err, w.Body)
	}
	return out
}

// vector reads an embedding in either format.
func vector(t testing.TB, raw json.RawMessage) (v []float32) {
	t.Helper()
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	for ; len(data) >= 4; data = data[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
	return v
}

func sameBits(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

// body is a request of /v1/embeddings.
func body(t testing.TB, fields map[string]any) string {
	t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// openTiny loads the random model that serves tests; it needs the ONNX Runtime
// that `make setup` fetches.
func openTiny(t testing.TB, change func(*embedder.Config)) *embedder.ONNX {
	t.Helper()
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	cfg := embedder.DefaultConfig()
	cfg.ModelDir = filepath.Join("..", "testdata", "tiny")
	if change != nil {
		change(&cfg)
	}
	e, err := embedder.NewONNX(cfg, nil, prometheus.NewRegistry())
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

// index is a stand-in for Qdrant's aliases.
type index struct {
	mu     sync.Mutex
	served map[string]Served
	err    error
	delay  time.Duration
	asked  int
}

// promote moves an alias to the recipe of e.
func (x *index) promote(alias string, r embedder.Recipe) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.served == nil {
		x.served = map[string]Served{}
	}
	x.served[alias] = Served{
		Collection: alias + "--" + r.Name, ModelVersion: r.ModelVersion(), Digest: fmt.Sprintf("%x", r.Digest()), Dim: r.Dim,
	}
}

func (x *index) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = err
}

func (x *index) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked
}

// Serving answers at the end of its delay with what was true at its start,
// which is the worst that Qdrant may do.
func (x *index) Serving(ctx context.Context, alias string) (Served, error) {
	x.mu.Lock()
	x.asked++
	served, ok := x.served[alias]
	err, delay := x.err, x.delay
	x.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return Served{}, ctx.Err()
		}
	}
	if err != nil {
		return Served{}, err
	}
	if !ok {
		return Served{}, ErrNoAlias
	}
	return served, nil
}
