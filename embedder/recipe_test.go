package embedder

import (
	"encoding/hex"
	"reflect"
	"testing"
)

func fixedRecipe() Recipe {
	return Recipe{
		Name: "some-model", Encoder: EncoderONNX,
		Model: Digest{1, 2, 3}, Data: []DataFile{{Name: "model.onnx_data", SHA256: Digest{4}}},
		Tokenizer: Digest{5, 6}, Pooling: PoolMean, Normalize: true, Prefix: "passage: ",
		MaxTokens: 256, Overflow: OverflowTruncate, Dim: 384, Precision: "float32",
	}
}

// A change of this digest orphans every index and every cache there is. It is
// right only when this package makes other vectors than before; raise
// recipeFormat then.
func TestDigestNeverChangesSilently(t *testing.T) {
	d := fixedRecipe().Digest()
	const want = "19b865395ddb3f6a93c4f4966ff6a9e16cb05170e06f9aaa6b0eace0481a1980"
	if got := hex.EncodeToString(d[:]); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if got := fixedRecipe().ModelVersion(); got != "some-model@"+want[:12] {
		t.Errorf("model_version %s", got)
	}
}

func TestEveryFieldChangesTheDigest(t *testing.T) {
	changes := map[string]func(*Recipe){
		"Encoder":   func(r *Recipe) { r.Encoder = EncoderBow },
		"Model":     func(r *Recipe) { r.Model[31]++ },
		"Data":      func(r *Recipe) { r.Data[0].SHA256[0]++ },
		"Tokenizer": func(r *Recipe) { r.Tokenizer[0]++ },
		"Pooling":   func(r *Recipe) { r.Pooling = PoolCLS },
		"Normalize": func(r *Recipe) { r.Normalize = false },
		"Prefix":    func(r *Recipe) { r.Prefix = "passage:" },
		"MaxTokens": func(r *Recipe) { r.MaxTokens = 128 },
		"Overflow":  func(r *Recipe) { r.Overflow = OverflowError },
		"Dim":       func(r *Recipe) { r.Dim = 128 },
		"Full":      func(r *Recipe) { r.Full = 768 },
		"Precision": func(r *Recipe) { r.Precision = "float16" },
	}
	more := map[string]func(*Recipe){
		"a data file's name": func(r *Recipe) { r.Data[0].Name = "weights" },
		"one data file more": func(r *Recipe) { r.Data = append(r.Data, DataFile{Name: "b"}) },
		"no data file":       func(r *Recipe) { r.Data = nil },
	}
	typ := reflect.TypeFor[Recipe]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Name; name != "Name" && changes[name] == nil {
			t.Errorf("field %s is not tested", name)
		}
	}
	seen := map[Digest]string{fixedRecipe().Digest(): "no change"}
	for _, set := range []map[string]func(*Recipe){changes, more} {
		for name, change := range set {
			r := fixedRecipe()
			change(&r)
			if other, dup := seen[r.Digest()]; dup {
				t.Errorf("%s: the same digest as %s", name, other)
			}
			seen[r.Digest()] = name
		}
	}
}

func TestNameIsALabel(t *testing.T) {
	r := fixedRecipe()
	r.Name = "renamed"
	if r.Digest() != fixedRecipe().Digest() {
		t.Error("renaming a model changed its digest")
	}
	if NewBow("a", nil).Recipe().Digest() == NewBow("b", nil).Recipe().Digest() {
		t.Error("the name of a built-in encoder is its version, but does not change its digest")
	}
}

func TestDigestIgnoresTheOrderOfDataFiles(t *testing.T) {
	r, s := fixedRecipe(), fixedRecipe()
	r.Data = []DataFile{{Name: "a"}, {Name: "b"}}
	s.Data = []DataFile{{Name: "b"}, {Name: "a"}}
	if r.Digest() != s.Digest() {
		t.Error("the order of data files changed the digest")
	}
}

func TestPinNamesTheRecipe(t *testing.T) {
	pin := fixedRecipe().Pin()
	for _, key := range []string{"model_version", "digest", "name", "dim", "pooling", "normalize", "prefix", "max_tokens"} {
		if pin[key] == "" {
			t.Errorf("the pin lacks %s", key)
		}
	}
}
