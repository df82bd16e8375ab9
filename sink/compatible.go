package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/qdrant/go-client/qdrant"
)

// A model may be trained so that its queries find what an older one has
// encoded (backward-compatible training: Shen et al., Towards
// Backward-Compatible Representation Learning, CVPR 2020, arXiv 2003.11942).
// Then it needs no collection of its own: it adopts the older one's. The pin
// stays what it was; beside it stands, for each model that came later, which
// it is, and in what order they came. Any of them may write; queries are for
// the last, since nothing is promised of older queries and newer vectors.

// noteAdopted with a model_version is an adoption.
const noteAdopted = "adopted/"

// adoption is the note.
type adoption struct {
	Model Model `json:"model"`
	// Order is 1 for the first that followed the pinned model.
	Order int `json:"order"`
}

// adopted are the models that followed the pinned one, in order.
func adopted(metadata map[string]*qdrant.Value) []Model {
	var list []adoption
	for key, value := range metadata {
		var a adoption
		if strings.HasPrefix(key, noteAdopted) && json.Unmarshal([]byte(value.GetStringValue()), &a) == nil {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b adoption) int { return a.Order - b.Order })
	var models []Model
	for _, a := range list {
		models = append(models, a.Model)
	}
	return models
}

// queried is the model that queries of a collection are to be encoded with.
func queried(metadata map[string]*qdrant.Value) Model {
	if later := adopted(metadata); len(later) > 0 {
		return later[len(later)-1]
	}
	m, _, _ := unpin(metadata)
	return m
}

// made reports whether a model_version is the model's, under whatever name.
func (m Model) made(version string) bool {
	_, digest, ok := strings.Cut(version, "@")
	return version == m.Version || ok && len(m.Digest) >= shortDigest && digest == m.Digest[:shortDigest]
}

// holds reports whether a collection may hold vectors of the model, and which
// others it may hold.
func (m Model) holds(metadata map[string]*qdrant.Value) (yes bool, others map[string]bool) {
	pinned, _, _ := unpin(metadata)
	others = map[string]bool{}
	for _, a := range append([]Model{pinned}, adopted(metadata)...) {
		if a.Digest == m.Digest {
			yes = true
		} else {
			others[a.Version] = true
		}
	}
	return yes, others
}

// Adopt lets a model write into the collection that is served, and makes it
// the one for queries. declared are the model_versions that it is compatible
// with, by its maker's word: each one that the collection may hold must be
// among them. To adopt again changes nothing.
func (a *Admin) Adopt(ctx context.Context, model Model, declared []string) (collection string, err error) {
	served, err := a.member(ctx, "")
	if err != nil {
		return "", err
	}
	pinned, _, _ := unpin(served.metadata())
	yes, others := model.holds(served.metadata())
	if yes {
		return served.name, nil
	}
	for version := range others {
		if !slices.Contains(declared, version) {
			return "", fmt.Errorf("collection %s holds vectors of %s, with which %s is not declared compatible (embedder.compatible_with is %v): "+
				"declare it if its maker says so, else migrate with a collection of its own", served.name, version, model.Version, declared)
		}
	}
	if pinned.Dim != model.Dim {
		return "", fmt.Errorf("collection %s has %d dimensions and %s has %d: they cannot be compatible; migrate with a collection of its own", served.name, pinned.Dim, model.Version, model.Dim)
	}
	text, err := json.Marshal(adoption{Model: model, Order: len(adopted(served.metadata())) + 1})
	if err != nil {
		return "", err
	}
	return served.name, a.note(ctx, served.name, map[string]any{noteAdopted + model.Version: string(text)})
}
