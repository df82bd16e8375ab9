package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"chunktide/chunk"
	"chunktide/embedder"
)

var contractTexts = []string{
	"the index", "a vector of the index", "Ünïcödé — 日本語 🙂", strings.Repeat("a long text ", 40), "the index",
}

// Whatever way a text is asked for, it gets the encoder's own vector.
func TestVectorsAreTheEncodersBitForBit(t *testing.T) {
	for name, e := range map[string]embedder.SequenceEncoder{
		"bow": embedder.NewBow("", nil),
		"onnx": openTiny(t, func(c *embedder.Config) {
			c.Prefix, c.QueryPrefix, c.MaxTokens = "passage: ", "query: ", 16
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil, nil, e)
			documents, err := e.Encode(t.Context(), contractTexts)
			if err != nil {
				t.Fatal(err)
			}
			var queries []chunk.Embedding
			var ids [][]int64
			for _, text := range contractTexts {
				q, err := e.EncodeQuery(t.Context(), text)
				if err != nil {
					t.Fatal(err)
				}
				list, err := e.TokenIDs(text)
				if err != nil {
					t.Fatal(err)
				}
				queries, ids = append(queries, q), append(ids, list)
			}
			for _, format := range []string{"", "float", "base64"} {
				for _, c := range []struct {
					kind  string
					input any
					want  []chunk.Embedding
				}{
					{"query", contractTexts, queries}, {"", contractTexts, queries}, {"document", contractTexts, documents},
					{"document", contractTexts[2], documents[2:3]}, {"", contractTexts[3], queries[3:4]},
					{"document", ids, documents}, {"query", ids[1], documents[1:2]},
				} {
					fields := map[string]any{"model": e.Recipe().ModelVersion(), "input": c.input}
					if format != "" {
						fields["encoding_format"] = format
					}
					if c.kind != "" {
						fields["input_type"] = c.kind
					}
					checkOpenAI(t, s, fields, e.Recipe(), c.want)
				}
			}
			for kind, want := range map[string][]chunk.Embedding{"query": queries, "document": documents} {
				checkTEI(t, s, kind, want)
			}
		})
	}
}

func checkOpenAI(t *testing.T, s http.Handler, fields map[string]any, r embedder.Recipe, want []chunk.Embedding) {
	t.Helper()
	w := post(t.Context(), s, "/v1/embeddings", body(t, fields))
	got := read(t, w)
	if w.Code != http.StatusOK || len(got.Data) != len(want) || got.Object != "list" || got.Model != r.ModelVersion() {
		t.Fatalf("%v: %d with %d vectors: %.300s", fields, w.Code, len(got.Data), w.Body)
	}
	if v, d := w.Header().Get(HeaderVersion), w.Header().Get(HeaderDigest); v != r.ModelVersion() || d != fmt.Sprintf("%x", r.Digest()) {
		t.Errorf("the headers name %s and %s", v, d)
	}
	tokens := 0
	_, isIDs := fields["input"].([][]int64)
	_, isID := fields["input"].([]int64)
	for i, d := range got.Data {
		tokens += want[i].Tokens
		if d.Index != i || d.Object != "embedding" || d.Tokens != want[i].Tokens || d.Truncated != (want[i].Truncated && !isIDs && !isID) {
			t.Errorf("%v: entry %d is %+v", fields, i, d)
		}
		if !sameBits(vector(t, d.Embedding), want[i].Vector) {
			t.Errorf("%v: vector %d is another", fields, i)
		}
	}
	if got.Usage.PromptTokens != tokens || got.Usage.TotalTokens != tokens {
		t.Errorf("%+v, want %d tokens", got.Usage, tokens)
	}
}

func checkTEI(t *testing.T, s http.Handler, prompt string, want []chunk.Embedding) {
	t.Helper()
	w := post(t.Context(), s, "/embed", body(t, map[string]any{"inputs": contractTexts, "prompt_name": prompt, "normalize": true}))
	var got [][]float32
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got) != len(want) {
		t.Fatalf("%d: %v: %.300s", w.Code, err, w.Body)
	}
	for i := range got {
		if !sameBits(got[i], want[i].Vector) {
			t.Errorf("/embed as %s: vector %d is another", prompt, i)
		}
	}
}

// Fewer dimensions are the recipe that has them, and named so.
func TestDimensionsAreAnotherRecipe(t *testing.T) {
	full := openTiny(t, nil)
	small := openTiny(t, func(c *embedder.Config) { c.Dimensions = 8 })
	want, err := small.Encode(t.Context(), contractTexts)
	if err != nil {
		t.Fatal(err)
	}
	x := &index{}
	x.promote("docs", small.Recipe())
	s := start(t, func(c *Config) { c.Aliases = []string{"docs"} }, x, full)
	for _, fields := range []map[string]any{
		{"model": full.Recipe().Name, "dimensions": 8},
		{"model": small.Recipe().ModelVersion(), "dimensions": 8},
		{"model": "docs"}, // the alias of an index with 8 dimensions
		{"model": "docs", "dimensions": 8},
	} {
		fields["input"], fields["input_type"] = contractTexts, "document"
		checkOpenAI(t, s, fields, small.Recipe(), want)
	}
	for fields, code := range map[string]int{
		`{"input":"x","dimensions":33}`: 400, `{"input":"x","dimensions":0}`: 400, `{"input":"x","model":"docs","dimensions":32}`: 400,
		`{"input":"x","dimensions":32}`: 200,
	} {
		if w := post(t.Context(), s, "/v1/embeddings", fields); w.Code != code {
			t.Errorf("%s: %d %s, want %d", fields, w.Code, w.Body, code)
		}
	}
}

// What describes the models lets a client compute the digest itself.
func TestModelsAreDescribed(t *testing.T) {
	a, b := embedder.NewBow("a", nil), embedder.NewBow("b", nil)
	x := &index{}
	x.promote("docs", b.Recipe())
	s := start(t, func(c *Config) { c.Aliases = []string{"docs"} }, x, a, b)
	for name, want := range map[string]embedder.Recipe{"a": a.Recipe(), "b": b.Recipe(), "docs": b.Recipe(), embedder.DefaultRemoteModel: a.Recipe()} {
		w := get(t, s, "/v1/models/"+name)
		var m modelReply
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.Recipe == nil {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		if m.ID != want.ModelVersion() || m.Recipe.Digest() != want.Digest() || m.Digest != fmt.Sprintf("%x", want.Digest()) {
			t.Errorf("%s is %+v, want %s", name, m, want.ModelVersion())
		}
		if (m.Collection != "") != (name == "docs") || w.Header().Get(HeaderCollection) != m.Collection {
			t.Errorf("%s: collection %q", name, m.Collection)
		}
	}
	var list struct{ Data []modelReply }
	if err := json.Unmarshal(get(t, s, "/v1/models").Body.Bytes(), &list); err != nil || len(list.Data) != 3 {
		t.Errorf("%v: %+v, want two models and an alias", err, list)
	}
	var info infoReply
	w := get(t, s, "/info?model=b")
	if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil || info.ModelVersion != "b" || info.Dimensions != 256 || info.ModelID != "b" {
		t.Errorf("/info: %v, %+v", err, info)
	}
	if w := get(t, s, "/health"); w.Code != http.StatusOK {
		t.Errorf("/health: %d", w.Code)
	}
	if w := get(t, s, "/metrics"); !strings.Contains(w.Body.String(), `chunktide_serve_requests_total{api="models",code="200"}`) {
		t.Errorf("/metrics: %d %.300s", w.Code, w.Body)
	}
}
