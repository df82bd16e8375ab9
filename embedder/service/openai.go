package service

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"slices"

	"chunktide/chunk"
	"chunktide/embedder"
)

// OpenAI's API: https://platform.openai.com/docs/api-reference/embeddings and
// …/models. What is ours beside it: input_type, and the fields of an answer
// that say how a text was read.

// embeddingsRequest is the body of POST /v1/embeddings.
type embeddingsRequest struct {
	Model      string          `json:"model"`
	Input      json.RawMessage `json:"input"`
	Encoding   string          `json:"encoding_format"` // float (the default) or base64
	Dimensions *int            `json:"dimensions"`
	// InputType is query (the default: readers are who uses a client that knows
	// nothing of it) or document, and says which prefix is put before the texts.
	// search_query, passage and search_document are other providers' names.
	InputType string `json:"input_type"`
	User      any    `json:"user"` // OpenAI's, for its own logs
}

type embeddingsReply struct {
	Object string      `json:"object"`
	Data   []embedding `json:"data"`
	Model  string      `json:"model"`
	Usage  usage       `json:"usage"`
}

type embedding struct {
	Object string `json:"object"`
	Index  int    `json:"index"`
	// Embedding is a list of numbers, or their bytes in base64.
	Embedding any  `json:"embedding"`
	Tokens    int  `json:"tokens"`
	Truncated bool `json:"truncated,omitempty"`
}

type usage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

func (s *Service) embeddings(ctx context.Context, r *http.Request) (reply, error) {
	var q embeddingsRequest
	if err := decodeBody(r.Body, &q); err != nil {
		return reply{}, err
	}
	if !slices.Contains([]string{"", "float", "base64"}, q.Encoding) {
		return reply{}, invalid("encoding_format", "encoding_format is none of float, base64")
	}
	query, err := isQuery(q.InputType, "input_type")
	if err != nil {
		return reply{}, err
	}
	dimensions := 0
	if q.Dimensions != nil {
		if dimensions = *q.Dimensions; dimensions < 1 {
			return reply{}, invalid("dimensions", "dimensions must be at least 1")
		}
	}
	entries, err := readEntries(q.Input, "input", s.limits())
	if err != nil {
		return reply{}, err
	}
	t, err := s.models.find(ctx, q.Model, dimensions)
	if err != nil {
		return reply{}, err
	}
	vectors, err := s.encode(ctx, t, entries, query, "input")
	if err != nil {
		return reply{}, err
	}
	return reply{body: embeddingsOf(t, vectors, q.Encoding == "base64"), by: &t}, nil
}

func (s *Service) limits() limits {
	return limits{texts: s.cfg.RequestTexts, tokens: s.cfg.RequestTokens}
}

func embeddingsOf(t target, vectors []chunk.Embedding, base64 bool) embeddingsReply {
	out := embeddingsReply{Object: "list", Data: make([]embedding, len(vectors)), Model: t.version()}
	for i, v := range vectors {
		out.Data[i] = embedding{Object: "embedding", Index: i, Embedding: v.Vector, Tokens: v.Tokens, Truncated: v.Truncated}
		if base64 {
			out.Data[i].Embedding = littleEndian(v.Vector)
		}
		out.Usage.PromptTokens += v.Tokens
	}
	out.Usage.TotalTokens = out.Usage.PromptTokens
	return out
}

// littleEndian is the base64 of a vector's float32 values.
func littleEndian(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// isQuery reads what a text is for.
func isQuery(kind, param string) (bool, error) {
	switch kind {
	case "", "query", "search_query":
		return true, nil
	case "document", "passage", "search_document":
		return false, nil
	default:
		return false, invalid(param, "%s is none of query, document (or search_query, search_document, passage)", param)
	}
}

// modelReply is one of GET /v1/models. An alias in the list has no more than
// its name: what it serves is told when it is asked for by itself.
type modelReply struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`

	Alias      bool             `json:"alias,omitempty"`
	Collection string           `json:"collection,omitempty"`
	Digest     string           `json:"digest,omitempty"`
	Recipe     *embedder.Recipe `json:"recipe,omitempty"`
}

func (s *Service) model(id string) modelReply {
	return modelReply{ID: id, Object: "model", Created: s.started.Unix(), OwnedBy: "chunktide"}
}

func (s *Service) describe(t target) modelReply {
	m := s.model(t.version())
	m.Collection, m.Digest, m.Recipe = t.collection, t.digest(), &t.recipe
	return m
}

func (s *Service) listModels(context.Context, *http.Request) (reply, error) {
	list := struct {
		Object string       `json:"object"`
		Data   []modelReply `json:"data"`
	}{Object: "list"}
	for _, m := range s.models.loaded {
		list.Data = append(list.Data, s.describe(target{model: m, recipe: m.recipe}))
	}
	for _, alias := range s.models.aliases {
		m := s.model(alias)
		m.Alias = true
		list.Data = append(list.Data, m)
	}
	return reply{body: list}, nil
}

// showModel describes a recipe, or the one that an alias serves now. "default"
// is what answers a request that names no model.
func (s *Service) showModel(ctx context.Context, r *http.Request) (reply, error) {
	name := r.PathValue("model")
	if name == embedder.DefaultRemoteModel {
		name = ""
	}
	t, err := s.models.find(ctx, name, 0)
	if err != nil {
		return reply{}, err
	}
	return reply{body: s.describe(t), by: &t}, nil
}

// asOpenAI is OpenAI's shape of an error.
func asOpenAI(p *problem) any {
	type body struct {
		Message  string     `json:"message"`
		Type     string     `json:"type"`
		Param    *string    `json:"param"`
		Code     string     `json:"code"`
		Rejected []rejected `json:"rejected,omitempty"`
	}
	b := body{Message: p.message, Type: "invalid_request_error", Code: p.code, Rejected: p.rejected}
	switch {
	case p.status == http.StatusUnauthorized:
		b.Type = "authentication_error"
	case p.status == http.StatusTooManyRequests:
		b.Type = "rate_limit_error"
	case p.status >= http.StatusInternalServerError:
		b.Type = "server_error"
	}
	if p.param != "" {
		b.Param = &p.param
	}
	return struct {
		Error body `json:"error"`
	}{b}
}
