package service

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"chunktide/embedder"
)

// model is a loaded recipe with its queues.
type model struct {
	encoder            embedder.SequenceEncoder
	recipe             embedder.Recipe
	queries, documents *lane
}

// target is what answers a request.
type target struct {
	*model
	// recipe is the model's, with the dimensions that were asked for.
	recipe embedder.Recipe
	// collection is the one behind the alias that was named; empty without.
	collection string
}

func (t target) version() string { return t.recipe.ModelVersion() }

func (t target) digest() string {
	d := t.recipe.Digest()
	return hex.EncodeToString(d[:])
}

// models finds the recipe that a request names.
type models struct {
	loaded  []*model
	aliases []string
	cache   *aliasCache
	// unnamed is the default.
	unnamed  string
	stopping atomic.Bool
}

func newModels(cfg Config, o Options, m *metrics) (*models, error) {
	ms := &models{
		aliases: cfg.Aliases, unnamed: cfg.DefaultModel,
		cache: newAliasCache(o.Aliases, cfg.AliasTTL, cfg.AliasTimeout, m),
	}
	if o.Aliases == nil {
		ms.aliases = nil
	}
	for _, e := range o.Encoders {
		recipe := e.Recipe()
		version := recipe.ModelVersion()
		if slices.ContainsFunc(ms.loaded, func(m *model) bool { return m.recipe.ModelVersion() == version }) {
			return nil, fmt.Errorf("models: %s is given twice: list each model once, the one of the embedder section not at all", version)
		}
		for _, name := range []string{recipe.Name, version} {
			if slices.Contains(ms.aliases, name) {
				return nil, fmt.Errorf("aliases: %s is also the name of a model: set embedder.model_name to another, or a request for it would be ambiguous", name)
			}
		}
		ms.loaded = append(ms.loaded, &model{
			encoder: e, recipe: recipe,
			queries:   newLane(cfg, e, o.Logger, m.lane(laneQuery)),
			documents: newLane(cfg, e, o.Logger, m.lane(laneDocument)),
		})
	}
	if ms.unnamed == "" {
		ms.unnamed = ms.loaded[0].recipe.ModelVersion()
	}
	if !slices.Contains(ms.aliases, ms.unnamed) {
		if _, err := ms.named(ms.unnamed, 0); err != nil {
			return nil, fmt.Errorf("default_model: %w", err)
		}
	}
	return ms, nil
}

func (ms *models) closed() bool { return ms.stopping.Load() }

// close refuses what comes from now on.
func (ms *models) close() {
	ms.stopping.Store(true)
	for _, m := range ms.loaded {
		m.queries.close()
		m.documents.close()
	}
}

// find returns what answers a request for a model and so many dimensions. An
// empty name is the default, 0 dimensions are the recipe's.
func (ms *models) find(ctx context.Context, name string, dimensions int) (target, error) {
	if name == "" {
		name = ms.unnamed
	}
	if slices.Contains(ms.aliases, name) {
		return ms.behind(ctx, name, dimensions)
	}
	return ms.named(name, dimensions)
}

// behind returns the recipe that an alias serves.
func (ms *models) behind(ctx context.Context, alias string, dimensions int) (target, error) {
	served, err := ms.cache.serving(ctx, alias)
	switch {
	case errors.Is(err, ErrNoAlias):
		return target{}, &problem{status: http.StatusNotFound, code: codeNoModel, param: "model",
			message: fmt.Sprintf("the index has no alias %s: start a worker (chunktide run) to make it, or check qdrant.index and serve.aliases", alias)}
	case err != nil:
		return target{}, &problem{status: http.StatusServiceUnavailable, code: codeNoIndex, param: "model", after: shortestWait, cause: err,
			message: fmt.Sprintf("which recipe alias %s serves cannot be known now, since the index does not answer; the service's log has the error", alias)}
	}
	for _, m := range ms.loaded {
		recipe, err := m.recipe.Cut(served.Dim)
		t := target{model: m, recipe: recipe, collection: served.Collection}
		if err != nil || t.digest() != served.Digest {
			continue
		}
		if dimensions != 0 && dimensions != recipe.Dim {
			return target{}, invalid("dimensions", "alias %s serves vectors of %d dimensions, so it cannot be %d", alias, recipe.Dim, dimensions)
		}
		return t, nil
	}
	return target{}, &problem{status: http.StatusServiceUnavailable, code: codeNotLoaded, param: "model", after: longestWait,
		message: fmt.Sprintf("alias %s serves %s, which is not loaded here (loaded: %s): add it to serve.models", alias, served.ModelVersion, ms.list())}
}

// named returns the recipe of a model_version, or of a model's name.
func (ms *models) named(name string, dimensions int) (target, error) {
	var found []target
	var refused error
	for _, m := range ms.loaded {
		recipe := m.recipe
		if dimensions != 0 {
			var err error
			if recipe, err = m.recipe.Cut(dimensions); err != nil {
				recipe, refused = m.recipe, err
			}
		}
		if slices.Contains([]string{m.recipe.ModelVersion(), recipe.ModelVersion()}, name) || m.recipe.Name == name {
			found = append(found, target{model: m, recipe: recipe})
		}
	}
	switch {
	case len(found) == 0:
		return target{}, &problem{status: http.StatusNotFound, code: codeNoModel, param: "model",
			message: fmt.Sprintf("model %q is not loaded here; there are %s", name, ms.list())}
	case len(found) > 1:
		return target{}, invalid("model", "%q is the name of more than one model: name the model_version (%s)", name, ms.list())
	case dimensions != 0 && found[0].recipe.Dim != dimensions:
		return target{}, &problem{status: http.StatusBadRequest, code: codeInvalid, param: "dimensions", message: refused.Error()}
	}
	return found[0], nil
}

// list names what a request may ask for.
func (ms *models) list() string {
	var names []string
	for _, m := range ms.loaded {
		names = append(names, m.recipe.ModelVersion())
	}
	for _, a := range ms.aliases {
		names = append(names, "alias "+a)
	}
	return strings.Join(names, ", ")
}
