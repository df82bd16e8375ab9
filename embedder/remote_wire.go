package embedder

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"

	"chunktide/chunk"
)

// The headers in which a Chunktide service says which recipe answered; package
// service tells more.
const (
	HeaderModelVersion = "Chunktide-Model-Version"
	HeaderModelDigest  = "Chunktide-Model-Digest"
	HeaderCollection   = "Chunktide-Collection"
)

// DefaultRemoteModel asks a Chunktide service for the model that it answers
// with when none is named.
const DefaultRemoteModel = "default"

// wireVector is an embedding as a service sent it; vector is nil where it
// holds what is no finite number.
type wireVector struct {
	vector    []float32
	tokens    int // 0: not said
	truncated bool
}

// wireAnswer is a decoded answer: a vector for each text, in order.
type wireAnswer struct {
	vectors []wireVector
	// model is whose it is, by its own words; empty where the API has none.
	model string
}

// request is the path and the body for texts.
func (r *Remote) request(texts []string, query bool) (path string, body []byte, err error) {
	var v any
	switch r.cfg.Remote.API {
	case APITEI:
		path, v = "/embed", struct {
			Inputs    []string `json:"inputs"`
			Truncate  bool     `json:"truncate"`
			Normalize bool     `json:"normalize"`
		}{texts, r.cfg.Overflow == OverflowTruncate, r.cfg.Normalize}
	default:
		q := struct {
			Model      string   `json:"model"`
			Input      []string `json:"input"`
			Encoding   string   `json:"encoding_format"`
			Dimensions int      `json:"dimensions,omitempty"`
			InputType  string   `json:"input_type,omitempty"`
		}{Model: r.model, Input: texts, Encoding: "base64", Dimensions: r.cfg.Dimensions}
		path = "/embeddings"
		if r.cfg.Remote.API == APIChunktide {
			path, q.Dimensions, q.InputType = "/v1/embeddings", r.recipe.Dim, kindOf(query)
		}
		v = q
	}
	body, err = json.Marshal(v)
	return path, body, err
}

// errTorn means that an answer ended early, or is no JSON at all.
var errTorn = errors.New("the answer is cut short, or not JSON")

// decode reads an answer with n vectors. It puts each where its index says, and
// takes no answer in which one is missing or double.
func (r *Remote) decode(body []byte, n int) (wireAnswer, error) {
	if !json.Valid(body) {
		return wireAnswer{}, errTorn
	}
	if r.cfg.Remote.API == APITEI {
		var lists []json.RawMessage
		if err := json.Unmarshal(body, &lists); err != nil || len(lists) != n {
			return wireAnswer{}, fmt.Errorf("the service answered with %d vectors for %d texts, so that none can be given to its text", len(lists), n)
		}
		a := wireAnswer{vectors: make([]wireVector, n)}
		for i, raw := range lists {
			a.vectors[i].vector = decodeVector(raw)
		}
		return a, nil
	}
	var q struct {
		Model string
		Data  []struct {
			Index     *int
			Embedding json.RawMessage
			Tokens    int
			Truncated bool
		}
	}
	if err := json.Unmarshal(body, &q); err != nil || len(q.Data) != n {
		return wireAnswer{}, fmt.Errorf("the service answered with %d vectors for %d texts, so that none can be given to its text", len(q.Data), n)
	}
	a := wireAnswer{vectors: make([]wireVector, n), model: q.Model}
	seen := make([]bool, n)
	for i, d := range q.Data {
		at := i
		if d.Index != nil {
			at = *d.Index
		}
		if at < 0 || at >= n || seen[at] {
			return wireAnswer{}, fmt.Errorf("the service numbers its %d vectors wrongly, so that none can be given to its text", n)
		}
		seen[at] = true
		a.vectors[at] = wireVector{vector: decodeVector(d.Embedding), tokens: d.Tokens, truncated: d.Truncated}
	}
	return a, nil
}

// decodeVector reads a list of numbers, or base64 of little-endian float32. It
// is nil if that holds anything else: some services write NaN as null.
func decodeVector(raw json.RawMessage) []float32 {
	if len(raw) == 0 || bytes.Contains(raw, []byte("null")) {
		return nil
	}
	var v []float32
	if raw[0] == '[' {
		if json.Unmarshal(raw, &v) != nil {
			return nil
		}
		return v
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data)%4 != 0 {
		return nil
	}
	for ; len(data) > 0; data = data[4:] {
		x := math.Float32frombits(binary.LittleEndian.Uint32(data))
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return nil
		}
		v = append(v, x)
	}
	return v
}

// described is what a Chunktide service says of a model.
type described struct {
	ID     string  `json:"id"`
	Digest string  `json:"digest"`
	Recipe *Recipe `json:"recipe"`
}

// check returns the recipe, if this program reads it as the service does.
func (d described) check() (Recipe, error) {
	const mend = "let both be of the same version of Chunktide"
	if d.Recipe == nil {
		return Recipe{}, errors.New("it does not say its recipe: is it chunktide serve? Otherwise set embedder.remote.api to openai or tei")
	}
	if digest := d.Recipe.Digest(); fmt.Sprintf("%x", digest) != d.Digest || d.Recipe.ModelVersion() != d.ID || d.Recipe.Dim < 1 {
		return Recipe{}, fmt.Errorf("it says that its recipe is %s, which is %s by the rules of this program: %s", identifier(d.ID), d.Recipe.ModelVersion(), mend)
	}
	return *d.Recipe, nil
}

// refusedError is the service's refusal of a request, for some text in it.
type refusedError struct {
	status int
	code   string
	// texts are the refused ones, where the service names them.
	texts map[int]error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the service refuses it with HTTP status %d%s", e.status, e.code)
}

// refusal reads the body of a refusal. It keeps nothing of it but identifiers,
// since a message may quote the text.
func refusal(status, texts int, body []byte) *refusedError {
	e := &refusedError{status: status, code: codeIn(body)}
	var q struct {
		Error struct {
			Rejected []struct {
				Index  int
				Reason chunk.Reason
			}
		}
	}
	if json.Unmarshal(body, &q) != nil {
		return e
	}
	for _, t := range q.Error.Rejected {
		if t.Index < 0 || t.Index >= texts {
			continue
		}
		if e.texts == nil {
			e.texts = map[int]error{}
		}
		e.texts[t.Index] = chunk.Permanentf(knownReason(t.Reason), "the encoder's service refuses the text: %s", knownReason(t.Reason))
	}
	return e
}

func knownReason(r chunk.Reason) chunk.Reason {
	for _, known := range chunk.Reasons() {
		if r == known {
			return r
		}
	}
	return chunk.ReasonEncoderRefused
}

// codeIn finds the code of an error in OpenAI's shape, or in TEI's.
func codeIn(body []byte) string {
	var openai struct {
		Error struct{ Code, Type any }
	}
	var tei struct {
		Type any `json:"error_type"`
	}
	var found []any
	if json.Unmarshal(body, &openai) == nil {
		found = append(found, openai.Error.Code, openai.Error.Type)
	}
	if json.Unmarshal(body, &tei) == nil {
		found = append(found, tei.Type)
	}
	for _, v := range found {
		if s, ok := v.(string); ok && s != "" {
			return " (" + identifier(s) + ")"
		}
	}
	return ""
}

// identifier is s if it looks like one; other words of a service are not
// repeated.
func identifier(s string) string {
	if len(s) > 128 {
		return "…"
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' && r != '@' && r != '/' && r != ':' {
			return "…"
		}
	}
	return s
}

// changed returns an error if the answer is another model's than the pinned.
func (r *Remote) changed(header http.Header, a wireAnswer) error {
	was, is := r.answersAs, a.model
	if r.cfg.Remote.API == APIChunktide {
		if digest := header.Get(HeaderModelDigest); digest != fmt.Sprintf("%x", r.recipe.Digest()) {
			is = fmt.Sprintf("%s (digest %s)", identifier(a.model), identifier(digest))
			return r.anotherModel(was, is)
		}
	}
	if was != "" && is != was {
		return r.anotherModel(was, identifier(is))
	}
	return nil
}

func (r *Remote) anotherModel(was, is string) error {
	return fmt.Errorf("the service at %s answered with the model %s, and began with %s: vectors of two models cannot be compared; "+
		"let it serve the old one again, or move the index to the new one", r.cfg.Remote.URL, is, was)
}
