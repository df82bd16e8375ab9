// Package embedder turns text into vectors: with an ONNX sentence encoder
// ([ONNX]), by a service over HTTP ([Remote]), or with a deterministic stand-in
// that needs no model ([Bow]).
//
// What it guarantees:
//
//   - A text's vector depends on the text and the [Recipe] alone. It is the
//     same, bit for bit, alone or in a batch, whatever its neighbours, the
//     padding and the number of threads are. A cache that is addressed by
//     content needs that. (On a GPU, and for models that pool in their graph,
//     it holds to about 1e-6 only; the encoder says so when it starts.)
//   - A recipe covers everything that determines a vector, so two encoders of
//     one [Recipe.ModelVersion] are interchangeable, and encoders whose
//     vectors differ never share one.
//   - Every vector that is returned has [Recipe.Dim] finite values and is not
//     zero. A text that yields no such vector is rejected by its index; the
//     others of the call are served.
//
// All encoders are safe for use by several goroutines.
package embedder

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/chunk"
)

// Encoder turns texts into vectors. [ONNX], [Bow] and [Remote]
// implement it.
type Encoder interface {
	// Encode returns one embedding for each text, in order; the document
	// prefix is put before each. A *[chunk.Rejected] names the texts that were
	// refused (too many tokens, no usable vector); all others are good. An
	// error of reason encoder_refused means that the model failed and it is
	// not known on which text. When ctx ends first the error is ctx's.
	Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error)
	// EncodeQuery encodes a search query: the query prefix is put before it.
	EncodeQuery(ctx context.Context, text string) (chunk.Embedding, error)
	// Tokens is how many tokens Encode would read for text: prefix and special
	// tokens included, the maximum at most. It costs about 1 µs for each 10
	// tokens.
	Tokens(text string) int
	// TokenIDs are the ids that Encode would read for text; its error is the
	// one with which Encode would reject a text of too many tokens.
	TokenIDs(text string) ([]int64, error)
	// Recipe is what determines the vectors of this encoder.
	Recipe() Recipe
	// Close frees the model. No other method may run then or later.
	Close() error
}

// New makes the encoder that cfg names. Its metrics are registered on reg,
// which may be nil. ctx ends the wait for a service that does not answer; it is
// not needed afterwards.
func New(ctx context.Context, cfg Config, logger *slog.Logger, reg prometheus.Registerer) (Encoder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	switch cfg.Encoder {
	case EncoderBow:
		return NewBow(cfg.ModelName, reg), nil
	case EncoderONNX:
		return orNone(NewONNX(cfg, logger, reg))
	case EncoderRemote:
		return orNone(NewRemote(ctx, cfg, logger, reg))
	default:
		return nil, fmt.Errorf("encoder: %q is none of onnx, remote, bow", cfg.Encoder)
	}
}

// orNone is nil beside an error, not an interface that holds a nil pointer:
// whoever cleans up asks whether there is an encoder to close.
func orNone[E Encoder](e E, err error) (Encoder, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}
