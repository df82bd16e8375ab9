package embedder

import (
	"context"
	"fmt"
	"slices"

	"chunktide/chunk"
)

// Sequence is a tokenized text: what a service queues, since its length is
// known.
type Sequence struct {
	// IDs are what the model reads, prefix and special tokens included.
	IDs []int64
	// Total is how many tokens there were before the text was cut; more than
	// len(IDs) if it was.
	Total int
	// Query says that it is a query, for the metrics.
	Query bool
	// Dim cuts the vector to its first so many values, as the recipe with
	// these dimensions does (see [Recipe.Cut]); 0 is all that the recipe has.
	Dim int
}

// SequenceEncoder is an [Encoder] that takes tokens, and documents and queries
// in one call. [ONNX] and [Bow] implement it.
type SequenceEncoder interface {
	Encoder
	// Tokenize is the first half of Encode, or of EncodeQuery; its error is
	// permanent, and the one with which they would reject the text.
	Tokenize(text string, query bool) (Sequence, error)
	// EncodeSequences is the second half: one embedding for each sequence, in
	// order, with the errors of Encode. Its vectors are those of Encode, bit for
	// bit. A sequence that the model cannot read (empty, too long, an id out of
	// its vocabulary) is rejected. A call of queries alone goes before all other
	// calls, but for the runs that have begun.
	EncodeSequences(ctx context.Context, sequences []Sequence) ([]chunk.Embedding, error)
}

var (
	_ SequenceEncoder = (*ONNX)(nil)
	_ SequenceEncoder = (*Bow)(nil)
)

// Cut is the recipe with dim dimensions: that of the same settings with
// [Config.Dimensions] at dim. Only vectors of length 1 can be cut.
func (r Recipe) Cut(dim int) (Recipe, error) {
	if dim == r.Dim {
		return r, nil
	}
	if dim < 1 || dim > r.Dim {
		return r, fmt.Errorf("dimensions: %d is not between 1 and the model's %d", dim, r.Dim)
	}
	if !r.Normalize || r.Encoder != EncoderONNX {
		return r, fmt.Errorf("dimensions: vectors of %s cannot be cut, so it must be %d", r.ModelVersion(), r.Dim)
	}
	return r.cut(dim), nil
}

func (r Recipe) cut(dim int) Recipe {
	if dim > 0 && dim < r.Dim && r.Full == 0 {
		r.Full = r.Dim
	}
	if dim > 0 {
		r.Dim = dim
	}
	return r
}

// urgent is the number of a call that goes before all others.
const urgent = 0

func kindOf(query bool) string {
	if query {
		return kindQuery
	}
	return kindDocument
}

// checkSequence returns why a model of vocab ids cannot read s, or nil.
func (r Recipe) checkSequence(s Sequence, vocab int) error {
	if len(s.IDs) == 0 {
		return chunk.Permanentf(chunk.ReasonBadVector, "there are no tokens, so there is no vector for them")
	}
	if r.MaxTokens > 0 && len(s.IDs) > r.MaxTokens {
		return chunk.Permanentf(chunk.ReasonTooManyTokens,
			"there are %d tokens and the model reads %d: where to cut a list of tokens is for its sender to say", len(s.IDs), r.MaxTokens)
	}
	for _, id := range s.IDs {
		if id < 0 || id >= int64(vocab) {
			return chunk.Permanentf(chunk.ReasonEncoderRefused,
				"token %d is not between 0 and %d: the tokens are another model's", id, vocab-1)
		}
	}
	if _, err := r.Cut(r.cut(s.Dim).Dim); err != nil {
		return chunk.Permanent(chunk.ReasonEncoderRefused, err)
	}
	return nil
}

// tally counts tokens by kind.
type tally struct{ texts, tokens map[string]int }

func (t *tally) add(s Sequence) {
	if t.texts == nil {
		t.texts, t.tokens = map[string]int{}, map[string]int{}
	}
	t.texts[kindOf(s.Query)]++
	t.tokens[kindOf(s.Query)] += len(s.IDs)
}

// report counts a call of which padded tokens went through the model: the
// padding is shared out by tokens.
func (t *tally) report(m *metrics, padded int) {
	all := t.tokens[kindDocument] + t.tokens[kindQuery]
	for kind, texts := range t.texts {
		m.encoded(kind, texts, t.tokens[kind], padded*t.tokens[kind]/max(all, 1))
	}
}

// Tokenize implements [SequenceEncoder].
func (e *ONNX) Tokenize(text string, query bool) (Sequence, error) {
	prefix := e.cfg.Prefix
	if query {
		prefix = e.cfg.QueryPrefix
	}
	ids, total := e.words.Encode(nil, prefix+text, e.recipe.MaxTokens)
	if err := e.recipe.fits(total); err != nil {
		return Sequence{}, err
	}
	s := Sequence{IDs: ids, Total: total, Query: query}
	return s, e.recipe.checkSequence(s, e.words.VocabSize())
}

// EncodeSequences implements [SequenceEncoder].
func (e *ONNX) EncodeSequences(ctx context.Context, sequences []Sequence) ([]chunk.Embedding, error) {
	c := e.newCall(len(sequences))
	todo := make([]text, 0, len(sequences))
	var counted tally
	if !slices.ContainsFunc(sequences, func(s Sequence) bool { return !s.Query }) {
		c.number = urgent
	}
	for i, s := range sequences {
		if err := e.recipe.checkSequence(s, e.words.VocabSize()); err != nil {
			c.reject(i, err)
			continue
		}
		counted.add(s)
		todo = append(todo, text{index: i, ids: s.IDs, total: max(s.Total, len(s.IDs)), dim: s.Dim})
	}
	return c.finish(ctx, todo, func(padded int) { counted.report(e.metrics, padded) })
}

// Tokenize implements [SequenceEncoder].
func (b *Bow) Tokenize(text string, query bool) (Sequence, error) {
	ids := bowBuckets(text)
	s := Sequence{IDs: ids, Total: len(ids), Query: query}
	if len(ids) == 0 {
		return s, errNoWords
	}
	return s, nil
}

// EncodeSequences implements [SequenceEncoder].
func (b *Bow) EncodeSequences(ctx context.Context, sequences []Sequence) ([]chunk.Embedding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]chunk.Embedding, len(sequences))
	rejected := map[int]error{}
	var counted tally
	padded := 0
	for i, s := range sequences {
		if err := b.recipe.checkSequence(s, bowDim); err != nil {
			rejected[i] = err
			continue
		}
		counted.add(s)
		padded += len(s.IDs)
		out[i] = chunk.Embedding{Vector: countVector(s.IDs), Tokens: len(s.IDs)}
	}
	counted.report(b.metrics, padded)
	if len(rejected) > 0 {
		return out, &chunk.Rejected{Texts: rejected}
	}
	return out, nil
}
