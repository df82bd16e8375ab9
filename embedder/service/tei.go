package service

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"chunktide/chunk"
	"chunktide/embedder"
)

// The API of Text Embeddings Inference:
// https://huggingface.github.io/text-embeddings-inference. What is ours beside
// it: model.

// embedRequest is the body of POST /embed.
type embedRequest struct {
	Inputs json.RawMessage `json:"inputs"`
	// Truncate says whether a text that is too long may be cut; absent, the
	// recipe's own policy holds.
	Truncate  *bool  `json:"truncate"`
	Direction string `json:"truncation_direction"`
	Normalize *bool  `json:"normalize"`
	// PromptName is query (the default) or document, as input_type is in
	// OpenAI's API.
	PromptName string `json:"prompt_name"`
	Dimensions *int   `json:"dimensions"`
	Model      string `json:"model"`
}

// embed answers with the bare list of vectors.
func (s *Service) embed(ctx context.Context, r *http.Request) (reply, error) {
	var q embedRequest
	if err := decodeBody(r.Body, &q); err != nil {
		return reply{}, err
	}
	query, err := isQuery(q.PromptName, "prompt_name")
	if err != nil {
		return reply{}, err
	}
	if q.Direction != "" && !strings.EqualFold(q.Direction, "right") {
		return reply{}, invalid("truncation_direction", "texts are cut at their end: truncation_direction can be right only")
	}
	dimensions := 0
	if q.Dimensions != nil {
		if dimensions = *q.Dimensions; dimensions < 1 {
			return reply{}, invalid("dimensions", "dimensions must be at least 1")
		}
	}
	entries, err := readEntries(q.Inputs, "inputs", s.limits())
	if err != nil {
		return reply{}, err
	}
	t, err := s.models.find(ctx, q.Model, dimensions)
	if err != nil {
		return reply{}, err
	}
	if err := q.fits(t.recipe); err != nil {
		return reply{}, err
	}
	if q.Truncate != nil && !*q.Truncate {
		if err := t.refuseCut(entries, query); err != nil {
			return reply{}, err
		}
	}
	vectors, err := s.encode(ctx, t, entries, query, "inputs")
	if err != nil {
		return reply{}, err
	}
	lists := make([][]float32, len(vectors))
	for i, v := range vectors {
		lists[i] = v.Vector
	}
	return reply{body: lists, by: &t}, nil
}

// fits refuses what would be another recipe.
func (q embedRequest) fits(r embedder.Recipe) error {
	if q.Normalize != nil && *q.Normalize != r.Normalize {
		return invalid("normalize", "the vectors of %s have normalize: %v, so normalize must be that or be left out", r.ModelVersion(), r.Normalize)
	}
	if q.Truncate != nil && *q.Truncate && r.Overflow == embedder.OverflowError {
		return invalid("truncate", "%s refuses texts that are too long (embedder.overflow: error), so truncate must be false or be left out", r.ModelVersion())
	}
	return nil
}

// refuseCut refuses texts that the recipe would cut.
func (t target) refuseCut(entries []entry, query bool) error {
	errs := map[int]error{}
	for i, e := range entries {
		if s, err := t.sequence(e, query); err == nil && s.Total > len(s.IDs) {
			errs[i] = chunk.Permanentf(chunk.ReasonTooManyTokens, "has %d tokens and the model reads %d, and truncate is false", s.Total, len(s.IDs))
		}
	}
	if len(errs) > 0 {
		return refusal(errs, "inputs")
	}
	return nil
}

// infoReply is that of GET /info, which describes the default model, or the
// one of the parameter "model".
type infoReply struct {
	ModelID      string    `json:"model_id"`
	ModelSHA     string    `json:"model_sha"`
	ModelDType   string    `json:"model_dtype"`
	ModelType    modelType `json:"model_type"`
	Concurrent   int       `json:"max_concurrent_requests"`
	InputLength  int       `json:"max_input_length"`
	BatchTokens  int       `json:"max_batch_tokens"`
	ClientBatch  int       `json:"max_client_batch_size"`
	AutoTruncate bool      `json:"auto_truncate"`
	Version      string    `json:"version"`

	ModelVersion string `json:"model_version"`
	Dimensions   int    `json:"dimensions"`
}

type modelType struct {
	Embedding struct {
		Pooling string `json:"pooling"`
	} `json:"embedding"`
}

func (s *Service) info(ctx context.Context, r *http.Request) (reply, error) {
	t, err := s.models.find(ctx, r.URL.Query().Get("model"), 0)
	if err != nil {
		return reply{}, err
	}
	info := infoReply{
		ModelID: t.recipe.Name, ModelSHA: t.digest(), ModelDType: t.recipe.Precision, Concurrent: s.cfg.Requests,
		InputLength: t.recipe.MaxTokens, BatchTokens: s.cfg.BatchTokens, ClientBatch: s.cfg.RequestTexts,
		AutoTruncate: t.recipe.Overflow == embedder.OverflowTruncate, Version: s.version,
		ModelVersion: t.version(), Dimensions: t.recipe.Dim,
	}
	info.ModelType.Embedding.Pooling = t.recipe.Pooling
	return reply{body: info, by: &t}, nil
}

// asTEI is TEI's shape of an error.
func asTEI(p *problem) any {
	kind := "Validation"
	switch {
	case p.status == http.StatusTooManyRequests:
		kind = "Overloaded"
	case p.status >= http.StatusInternalServerError:
		kind = "Backend"
	}
	return struct {
		Error string `json:"error"`
		Type  string `json:"error_type"`
		Code  string `json:"code"`
	}{p.message, kind, p.code}
}
