package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chunktide/chunk"
	"chunktide/embedder"
)

// The headers of an answer.
const (
	// HeaderVersion names the recipe that made the vectors: its model_version.
	HeaderVersion = embedder.HeaderModelVersion
	// HeaderDigest is that recipe's whole digest, in hexadecimal.
	HeaderDigest = embedder.HeaderModelDigest
	// HeaderCollection names the collection that the alias pointed to, where the
	// request named one. A reader that searches this collection, in place of the
	// alias, cannot meet another recipe's vectors, whatever is promoted meanwhile.
	HeaderCollection = embedder.HeaderCollection
)

// reply is what an endpoint answers with 200.
type reply struct {
	body any
	// by is whose recipe made it, if one did.
	by *target
}

// answer is an endpoint.
type answer func(ctx context.Context, r *http.Request) (reply, error)

// errorShape is how an API tells a problem.
type errorShape func(p *problem) any

// handle puts an endpoint behind the key, the bounds and the metrics.
func (s *Service) handle(api string, shape errorShape, a answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.RequestTimeout)
		defer cancel()
		out, err := s.admitted(ctx, w, r, a)
		status := http.StatusOK
		if err != nil {
			p := problemOf(err)
			status = p.status
			if p.cause != nil {
				s.logger.Error("a request failed", "api", api, "status", p.status, "code", p.code, "error", p.cause)
			}
			s.writeProblem(w, p, shape)
		} else {
			s.writeReply(w, out)
		}
		s.metrics.answered(api, status, time.Since(start))
	})
}

// admitted runs an endpoint if the caller may, and there is a place.
func (s *Service) admitted(ctx context.Context, w http.ResponseWriter, r *http.Request, a answer) (reply, error) {
	if !s.allowed(r) {
		return reply{}, &problem{status: http.StatusUnauthorized, code: codeUnauthorized,
			message: "the API key is missing or wrong: send it as Authorization: Bearer KEY (serve.api_key)"}
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		return reply{}, &problem{status: http.StatusTooManyRequests, code: codeBusy, after: shortestWait,
			message: fmt.Sprintf("%d requests are under way already (serve.requests)", cap(s.places))}
	}
	r.Body = http.MaxBytesReader(w, r.Body, int64(s.cfg.RequestBytes))
	return a(ctx, r)
}

// allowed compares digests, in a time that says nothing about the key.
func (s *Service) allowed(r *http.Request) bool {
	if s.cfg.APIKey == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got, want := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.cfg.APIKey.Reveal()))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}

func (s *Service) writeReply(w http.ResponseWriter, out reply) {
	body, err := json.Marshal(out.body)
	if err != nil {
		s.logger.Error("an answer cannot be written as JSON, which is a bug", "error", err)
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	if out.by != nil {
		w.Header().Set(HeaderVersion, out.by.version())
		w.Header().Set(HeaderDigest, out.by.digest())
		if out.by.collection != "" {
			w.Header().Set(HeaderCollection, out.by.collection)
		}
	}
	writeBody(w, http.StatusOK, body)
}

func (s *Service) writeProblem(w http.ResponseWriter, p *problem, shape errorShape) {
	if p.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.after.Round(time.Second)/time.Second)))
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	body, err := json.Marshal(shape(p))
	if err != nil {
		http.Error(w, p.code, p.status)
		return
	}
	writeBody(w, p.status, body)
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that went away has nobody to be told
}

func tooLarge(param, format string, args ...any) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, code: codeTooLarge, param: param, message: fmt.Sprintf(format, args...)}
}

// bodyProblem tells what is wrong with a body, quoting none of it but a field's
// name.
func bodyProblem(err error) error {
	if err == nil {
		return nil
	}
	var large *http.MaxBytesError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &large):
		return tooLarge("", "the body has more than %d bytes (serve.request_bytes): send fewer texts at once", large.Limit)
	case errors.As(err, &mistyped):
		return invalid(mistyped.Field, "%s must be a %s", mistyped.Field, mistyped.Type)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		field := strings.Trim(strings.TrimPrefix(err.Error(), "json: unknown field "), `"`)
		return invalid(field, "the field %q is not known here, and might ask for another vector: leave it out", field)
	default:
		return invalid("", "the body is not one JSON object")
	}
}

// encode tokenizes the entries, takes them through the queue, and returns an
// embedding for each. Param names them in errors.
func (s *Service) encode(ctx context.Context, t target, entries []entry, query bool, param string) ([]chunk.Embedding, error) {
	sequences := make([]embedder.Sequence, len(entries))
	errs := map[int]error{}
	tokens := 0
	for i, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if sequences[i], err = t.sequence(e, query); err != nil {
			errs[i] = err
		}
		if tokens += len(sequences[i].IDs); tokens > s.cfg.RequestTokens {
			return nil, tooLarge(param, "the texts have more than %d tokens (serve.request_tokens): send fewer at once", s.cfg.RequestTokens)
		}
	}
	if len(errs) > 0 {
		return nil, refusal(errs, param)
	}
	queue := t.documents
	if query {
		queue = t.queries
	}
	out, errs, err := queue.do(ctx, sequences)
	if err != nil {
		return nil, err
	}
	if len(errs) > 0 {
		return nil, refusal(errs, param)
	}
	return out, nil
}

func (t target) sequence(e entry, query bool) (seq embedder.Sequence, err error) {
	if e.ids != nil {
		seq = embedder.Sequence{IDs: e.ids, Total: len(e.ids), Query: query}
	} else if seq, err = t.encoder.Tokenize(e.text, query); err != nil {
		return seq, err
	}
	if t.recipe.Dim != t.model.recipe.Dim {
		seq.Dim = t.recipe.Dim
	}
	return seq, nil
}

func (s *Service) health(w http.ResponseWriter, _ *http.Request) {
	if s.models.closed() {
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}
