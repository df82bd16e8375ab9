package embedder

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
)

// recipeFormat names the way vectors are made from a recipe's fields. It
// changes when this package's own code makes other vectors from the same
// fields.
const recipeFormat = "chunktide recipe 1"

// cutFormat does the same for the way vectors are cut.
const cutFormat = "cut of the float32 vector"

// Digest is a SHA-256. As text it is hexadecimal, in JSON too.
type Digest [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(d) {
		return fmt.Errorf("a digest is %d hexadecimal digits", 2*len(d))
	}
	copy(d[:], raw)
	return nil
}

// Recipe is everything that determines the vector of a text. Two encoders
// with one [Recipe.Digest] give the same vectors; whatever changes a vector
// changes the digest. It is pinned in the collection, in every cache key and
// in every point.
type Recipe struct {
	// Name is a label for people; it is not part of the digest of an ONNX
	// model, so that a renamed folder keeps its cache.
	Name string
	// Encoder is onnx or bow.
	Encoder string
	// Model is the SHA-256 of model.onnx.
	Model Digest
	// Data are the files that model.onnx refers to for its weights, if any.
	Data []DataFile
	// Tokenizer is the SHA-256 of tokenizer.json.
	Tokenizer Digest
	Pooling   Pooling
	Normalize bool
	// Prefix is put before every document. The query prefix is not here: no
	// stored vector depends on it.
	Prefix    string
	MaxTokens int
	Overflow  Overflow
	// Dim is how many values a vector has, after any cut.
	Dim int
	// Full is how many the model gives where they are cut, 0 where they are not:
	// the vector of such a recipe is [CutVector] of the full recipe's.
	Full int
	// Precision is that of the computation, "float32". The weights' own is
	// covered by Model.
	Precision string
}

// DataFile is a file of weights beside model.onnx.
type DataFile struct {
	Name   string // relative to model.onnx
	SHA256 Digest
}

// Digest is a SHA-256 over every field that determines a vector, each with
// its length before it, in a fixed order.
func (r Recipe) Digest() Digest {
	fields := []string{recipeFormat, r.Encoder}
	if r.Encoder == EncoderBow {
		fields = append(fields, r.Name)
	}
	fields = append(fields, string(r.Model[:]), strconv.Itoa(len(r.Data)))
	data := slices.Clone(r.Data)
	slices.SortFunc(data, func(a, b DataFile) int { return cmp.Compare(a.Name, b.Name) })
	for _, d := range data {
		fields = append(fields, d.Name, string(d.SHA256[:]))
	}
	fields = append(fields, string(r.Tokenizer[:]), r.Pooling, strconv.FormatBool(r.Normalize), r.Prefix,
		strconv.Itoa(r.MaxTokens), r.Overflow, strconv.Itoa(r.Dim), r.Precision)
	if r.Full > 0 {
		fields = append(fields, cutFormat, strconv.Itoa(r.Full))
	}

	h := sha256.New()
	var length [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(length[:], uint64(len(f)))
		h.Write(length[:])
		h.Write([]byte(f))
	}
	return Digest(h.Sum(nil))
}

// Uncut is the recipe whose vectors this one cuts; itself if it cuts none.
func (r Recipe) Uncut() Recipe {
	if r.Full > 0 {
		r.Dim, r.Full = r.Full, 0
	}
	return r
}

// Digest12 is the first 12 hexadecimal digits of the digest: 48 bits, enough
// to tell the models of one installation apart.
func (r Recipe) Digest12() string {
	d := r.Digest()
	return hex.EncodeToString(d[:6])
}

// ModelVersion is "<name>@<digest12>". A built-in encoder's name is its
// version.
func (r Recipe) ModelVersion() string {
	if r.Encoder == EncoderBow {
		return r.Name
	}
	return r.Name + "@" + r.Digest12()
}

// Pin is what the index keeps of the recipe, to compare with later and for
// people to read. model_version decides; the rest explains a difference.
func (r Recipe) Pin() map[string]string {
	d := r.Digest()
	return map[string]string{
		"model_version": r.ModelVersion(),
		"digest":        hex.EncodeToString(d[:]),
		"name":          r.Name,
		"encoder":       r.Encoder,
		"model":         hex.EncodeToString(r.Model[:]),
		"tokenizer":     hex.EncodeToString(r.Tokenizer[:]),
		"dim":           strconv.Itoa(r.Dim),
		"pooling":       r.Pooling,
		"normalize":     strconv.FormatBool(r.Normalize),
		"prefix":        r.Prefix,
		"max_tokens":    strconv.Itoa(r.MaxTokens),
		"overflow":      r.Overflow,
		"precision":     r.Precision,
	}
}
