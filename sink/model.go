package sink

import (
	"fmt"
	"regexp"

	"github.com/qdrant/go-client/qdrant"
)

// Model is the recipe that a collection's vectors follow, as far as the index
// must know it. It is pinned in the collection's metadata.
type Model struct {
	Name string `json:"name"`
	// Version is the model_version that every record bears.
	Version string `json:"model_version"`
	// Digest is the recipe's, in hexadecimal.
	Digest    string `json:"digest"`
	Dim       int    `json:"dim"`
	Pooling   string `json:"pooling"`
	Normalize bool   `json:"normalize"`
	Prefix    string `json:"prefix"`
}

// schema is the layout of points; a reader refuses one that it does not know.
const schema = 1

// shortDigest is how much of the digest stands in names.
const shortDigest = 12

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// collection is the name of the collection that an index has for a model.
func (m Model) collection(index string) string {
	return index + "--" + notInNames.ReplaceAllString(m.Name, "-") + "-" + m.Digest[:min(shortDigest, len(m.Digest))]
}

func (m Model) pin() map[string]*qdrant.Value {
	return qdrant.NewValueMap(map[string]any{
		"name": m.Name, "model_version": m.Version, "digest": m.Digest, "dim": int64(m.Dim),
		"pooling": m.Pooling, "normalize": m.Normalize, "prefix": m.Prefix, "schema": int64(schema),
	})
}

// unpin reads a pin; ok is false where there is none.
func unpin(metadata map[string]*qdrant.Value) (m Model, found int64, ok bool) {
	m = Model{
		Name: metadata["name"].GetStringValue(), Version: metadata["model_version"].GetStringValue(),
		Digest: metadata["digest"].GetStringValue(), Dim: int(integer(metadata["dim"])),
		Pooling: metadata["pooling"].GetStringValue(), Normalize: metadata["normalize"].GetBoolValue(),
		Prefix: metadata["prefix"].GetStringValue(),
	}
	return m, integer(metadata["schema"]), m.Digest != ""
}

// integer reads a number however the server wrote it.
func integer(v *qdrant.Value) int64 {
	if d, ok := v.GetKind().(*qdrant.Value_DoubleValue); ok {
		return int64(d.DoubleValue)
	}
	return v.GetIntegerValue()
}

// verify checks that a collection holds the model's vectors.
func (m Model) verify(collection string, info *qdrant.CollectionInfo) error {
	const mend = "set embedder to that model again, choose another qdrant.index, or move the index to the new model (chunktide migrate)"
	held, layout, ok := unpin(info.GetConfig().GetMetadata())
	switch {
	case !ok:
		return fmt.Errorf("collection %s was not made by Chunktide: its metadata names no model; choose another qdrant.index or qdrant.collection", collection)
	case layout != schema:
		return fmt.Errorf("collection %s has layout %d, this version writes layout %d: use the version of Chunktide that made it, or another index", collection, layout, schema)
	}
	if yes, _ := m.holds(info.GetConfig().GetMetadata()); !yes {
		return fmt.Errorf("collection %s holds vectors of %s, but this worker encodes with %s, and the two cannot be compared: %s", collection, held.Version, m.Version, mend)
	}
	params := info.GetConfig().GetParams().GetVectorsConfig().GetParamsMap().GetMap()[vectorName]
	if params == nil || params.GetSize() != uint64(m.Dim) || params.GetDistance() != qdrant.Distance_Cosine {
		return fmt.Errorf("collection %s has no vector %q of %d dimensions under cosine: it was changed by hand; restore it or choose another qdrant.index", collection, vectorName, m.Dim)
	}
	return nil
}
