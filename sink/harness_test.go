package sink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"

	"chunktide/chunk"
	"chunktide/devstack/qdrantd"
)

// servers are what the contract is held against: the embedded Qdrant always,
// and the real one at CHUNKTIDE_TEST_QDRANT (host:port of gRPC).
func servers(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"embedded": embedded(t, nil)}
	if addr := os.Getenv("CHUNKTIDE_TEST_QDRANT"); addr != "" {
		out["real"] = addr
	}
	return out
}

func embedded(t *testing.T, interceptor grpc.UnaryServerInterceptor) string {
	t.Helper()
	s, err := qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0", Interceptor: interceptor})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Addr()
}

const testDim = 4

func testModel(name string) Model {
	sum := chunk.HashText(name)
	return Model{Name: name, Version: name + "@" + sum.String()[:12], Digest: sum.String(), Dim: testDim, Pooling: "mean", Normalize: true}
}

func testConfig(addr string) Config {
	var random [4]byte
	_, _ = rand.Read(random[:])
	cfg := DefaultConfig()
	cfg.Address = addr
	cfg.Index = "ct-test-" + hex.EncodeToString(random[:])
	cfg.Retry = Retry{Initial: time.Millisecond, Max: 5 * time.Millisecond}
	return cfg
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open opens an index of its own, which goes when the test ends.
func open(t *testing.T, cfg Config, model Model) *Sink {
	t.Helper()
	s, err := Open(t.Context(), cfg, model, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = s.collect.UpdateAliases(ctx, &qdrant.ChangeAliases{Actions: []*qdrant.AliasOperations{qdrant.NewAliasDelete(cfg.Index)}})
		_, _ = s.collect.Delete(ctx, &qdrant.DeleteCollection{CollectionName: s.collection})
		_ = s.Close()
	})
	return s
}

// contract runs a test against every server.
func contract(t *testing.T, test func(t *testing.T, s *Sink)) {
	t.Helper()
	for name, addr := range servers(t) {
		t.Run(name, func(t *testing.T) { test(t, open(t, testConfig(addr), testModel("m"))) })
	}
}

var clock atomic.Int64

// upsert is a point of document "d" whose vector tells its text apart.
func upsert(name, text string, v chunk.Version) chunk.Point {
	h := chunk.HashText(text)
	return chunk.Point{
		ID: chunk.NewID("s", "d", name), Op: chunk.Upsert, Source: "s", DocumentID: "d", ChunkID: name, Version: v,
		Origin: chunk.Origin{Topic: "t", Offset: clock.Add(1)}, EventTime: time.Unix(1_700_000_000+clock.Load(), 0).UTC(),
		Text: text, Metadata: map[string]any{"n": int64(1)}, Hash: h, Position: 3,
		Embedding: chunk.Embedding{Vector: unit(h), Tokens: 5, Truncated: true},
	}
}

func unit(h chunk.Hash) []float32 {
	v := make([]float32, testDim)
	for i := range v {
		v[i] = float32(h[i]) + 1
	}
	return v
}

func remove(name string, v chunk.Version) chunk.Point {
	p := upsert(name, "", v)
	return chunk.Point{
		ID: p.ID, Op: chunk.Delete, Source: "s", DocumentID: "d", ChunkID: name, Version: v, Origin: p.Origin, EventTime: p.EventTime,
	}
}

func removeDocument(v chunk.Version) chunk.Point {
	p := remove("", v)
	p.ID, p.Op = chunk.NewDocumentID("s", "d"), chunk.DeleteDocument
	return p
}

func apply(t *testing.T, s *Sink, points ...chunk.Point) {
	t.Helper()
	if err := s.Apply(t.Context(), points); err != nil {
		t.Fatal(err)
	}
}

// state is a chunk as a test writes it: "text@version", "†version" for a
// tombstone, "" for nothing.
func state(t *testing.T, s *Sink, name string) string {
	t.Helper()
	id := chunk.NewID("s", "d", name)
	got, err := s.Read(t.Context(), []chunk.ID{id}, true)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := got[id]
	switch {
	case !ok:
		return ""
	case st.Tombstone:
		if st.Text != "" || st.Embedding.Vector != nil {
			t.Errorf("tombstone %s holds %q and a vector of %d", name, st.Text, len(st.Embedding.Vector))
		}
		return fmt.Sprintf("†%d", st.Version)
	default:
		return fmt.Sprintf("%s@%d", st.Text, st.Version)
	}
}

func want(t *testing.T, s *Sink, name, expected string) {
	t.Helper()
	if got := state(t, s, name); got != expected {
		t.Errorf("%s is %q, want %q", name, got, expected)
	}
}

// found are the chunks that a search for a text's vector returns.
func found(t *testing.T, s *Sink, text string) map[string]string {
	t.Helper()
	hits, err := s.Search(t.Context(), unit(chunk.HashText(text)), 100)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, h := range hits {
		out[h.ChunkID] = h.Text
	}
	return out
}
