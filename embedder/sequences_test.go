package embedder

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
)

// A service that tokenizes here and encodes there must give Encode's vectors.
func TestSequencesAreEncodeInTwoHalves(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	var texts []string
	for range 60 {
		texts = append(texts, words(rng, 1+rng.IntN(30)))
	}
	for name, e := range map[string]SequenceEncoder{
		"bow":  NewBow("", nil),
		"onnx": openTiny(t, func(c *Config) { c.Prefix, c.QueryPrefix, c.MaxTokens = "passage ", "query ", 16 }),
	} {
		t.Run(name, func(t *testing.T) {
			var sequences []Sequence
			var want []chunk.Embedding
			for i, text := range texts {
				query := i%3 == 0
				s, err := e.Tokenize(text, query)
				if err != nil {
					t.Fatal(err)
				}
				sequences = append(sequences, s)
				if query {
					one, err := e.EncodeQuery(t.Context(), text)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, one)
					continue
				}
				want = append(want, encode(t, e, text)[0])
			}
			got, err := e.EncodeSequences(t.Context(), sequences)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("the vectors differ from Encode's (%v)", err)
			}
			// The control: documents and queries differ where there are prefixes.
			if name == "onnx" && slices.Equal(got[0].Vector, encode(t, e, texts[0])[0].Vector) {
				t.Error("a query has the vector of a document, though the prefixes differ")
			}
		})
	}
}

func TestUnreadableSequencesAreRejectedAlone(t *testing.T) {
	e := openTiny(t, func(c *Config) { c.MaxTokens = 8 })
	good, err := e.Tokenize("the index", false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.EncodeSequences(t.Context(), []Sequence{
		good, {}, {IDs: []int64{-1}}, {IDs: []int64{1 << 40}}, {IDs: make([]int64, 9)}, {IDs: good.IDs, Dim: 1000}, good,
	})
	var rejected *chunk.Rejected
	if !errors.As(err, &rejected) {
		t.Fatalf("%v, want a rejection", err)
	}
	want := map[int]chunk.Reason{1: chunk.ReasonBadVector, 2: chunk.ReasonEncoderRefused, 3: chunk.ReasonEncoderRefused,
		4: chunk.ReasonTooManyTokens, 5: chunk.ReasonEncoderRefused}
	for i := range 7 {
		if reason, _ := chunk.ReasonOf(rejected.Texts[i]); reason != want[i] {
			t.Errorf("sequence %d: %q, want %q", i, reason, want[i])
		}
	}
	if one := encode(t, e, "the index")[0].Vector; !same(got[0].Vector, one) || !same(got[6].Vector, one) {
		t.Error("a good sequence beside bad ones has another vector")
	}
}

// A cut vector is the one that the recipe with these dimensions gives.
func TestCutSequencesFollowTheCutRecipe(t *testing.T) {
	full := openTiny(t, nil)
	small := openTiny(t, func(c *Config) { c.Dimensions = 8 })
	s, err := full.Tokenize("the vector index", false)
	if err != nil {
		t.Fatal(err)
	}
	cut := s
	cut.Dim = 8
	got, err := full.EncodeSequences(t.Context(), []Sequence{cut, s})
	if err != nil {
		t.Fatal(err)
	}
	if !same(got[0].Vector, encode(t, small, "the vector index")[0].Vector) || len(got[1].Vector) != 32 {
		t.Error("the cut vector is not the one of the cut recipe")
	}
	recipe, err := full.Recipe().Cut(8)
	if err != nil || recipe.Digest() != small.Recipe().Digest() || recipe.Digest() == full.Recipe().Digest() {
		t.Errorf("the cut recipe is %s, want %s (%v)", recipe.ModelVersion(), small.Recipe().ModelVersion(), err)
	}
	for _, dim := range []int{0, 33, -1} {
		if _, err := full.Recipe().Cut(dim); err == nil {
			t.Errorf("cut to %d", dim)
		}
	}
	if _, err := NewBow("", nil).Recipe().Cut(8); err == nil {
		t.Error("a bag of words was cut")
	}
}

// Clients of the service compute the digest from the recipe that it sends.
func TestRecipesSurviveJSON(t *testing.T) {
	var r Recipe
	fillFields(t, reflect.ValueOf(&r).Elem())
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Recipe
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(r, back) || back.Digest() != r.Digest() {
		t.Errorf("%v: %+v became %+v", err, r, back)
	}
	for _, text := range []string{`""`, `"zz"`, `"00"`} {
		var d Digest
		if json.Unmarshal([]byte(text), &d) == nil {
			t.Errorf("%s was taken for a digest", text)
		}
	}
}

// fillFields gives every field below v a value of its own.
func fillFields(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillFields(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillFields(t, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fillFields(t, v.Index(i))
		}
	case reflect.String:
		v.SetString("a<b>é")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(0xab)
	default:
		t.Fatalf("a recipe has a %s, which this test does not know", v.Kind())
	}
}

// Queries wait for the runs that have begun, and for no document beyond. The
// control comes as a document, and waits for all.
func TestQueriesGoBeforeDocuments(t *testing.T) {
	waited := func(query bool) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			e := fakeONNX(1, cpuShapes(100, 100, 1), &fakeModel{})
			sequences := func(n int, query bool) []Sequence {
				out := make([]Sequence, n)
				for i := range out {
					out[i] = Sequence{IDs: make([]int64, 10), Query: query}
				}
				return out
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = e.EncodeSequences(t.Context(), sequences(200, false)) })
			time.Sleep(250 * time.Millisecond)
			start := time.Now()
			if _, err := e.EncodeSequences(t.Context(), sequences(1, query)); err != nil {
				t.Error(err)
			}
			took = time.Since(start)
			wg.Wait()
		})
		return took
	}
	if query, document := waited(true), waited(false); query > 110*time.Millisecond || document < time.Second {
		t.Errorf("a query took %s and a document %s, want no more than a run and its own, and the time of all", query, document)
	}
}
