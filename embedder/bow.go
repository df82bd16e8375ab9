package embedder

import (
	"context"
	"crypto/md5"
	"math"
	"strings"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/chunk"
)

// BowName is the model_version of [Bow] where none is given.
const BowName = "demo-bow-v1"

const bowDim = 256

var errNoWords = chunk.Permanentf(chunk.ReasonBadVector, "the text has no words, so there is no vector for it")

// Bow is the textbook's stand-in for a model: a bag of words. A text is
// lower-cased and split on white space; each word counts in the bucket that
// its MD5, read as a big-endian integer, has modulo 256; the counts are
// scaled to length 1. It knows nothing of meaning, but it is deterministic,
// fast and needs no files, which is what tests want.
type Bow struct {
	recipe  Recipe
	metrics *metrics
}

// NewBow returns a bag-of-words encoder; name is its model_version.
func NewBow(name string, reg prometheus.Registerer) *Bow {
	if name == "" {
		name = BowName
	}
	return &Bow{
		recipe: Recipe{
			Name: name, Encoder: EncoderBow, Pooling: "sum", Normalize: true,
			Overflow: OverflowTruncate, Dim: bowDim, Precision: "float32",
		},
		metrics: newMetrics(reg),
	}
}

// Encode implements [Encoder]. A text without words has no vector and is
// rejected as bad_vector.
func (b *Bow) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	return b.encode(ctx, texts, kindDocument)
}

// EncodeQuery implements [Encoder].
func (b *Bow) EncodeQuery(ctx context.Context, text string) (chunk.Embedding, error) {
	return only(b.encode(ctx, []string{text}, kindQuery))
}

func (b *Bow) encode(ctx context.Context, texts []string, kind string) ([]chunk.Embedding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]chunk.Embedding, len(texts))
	rejected := map[int]error{}
	tokens := 0
	for i, text := range texts {
		buckets := bowBuckets(text)
		if len(buckets) == 0 {
			rejected[i] = errNoWords
			continue
		}
		tokens += len(buckets)
		out[i] = chunk.Embedding{Vector: countVector(buckets), Tokens: len(buckets)}
	}
	b.metrics.encoded(kind, len(texts)-len(rejected), tokens, tokens)
	if len(rejected) > 0 {
		return out, &chunk.Rejected{Texts: rejected}
	}
	return out, nil
}

func countVector(buckets []int64) []float32 {
	var counts [bowDim]float64
	for _, bucket := range buckets {
		counts[bucket]++
	}
	sum := 0.0
	for _, c := range counts {
		sum += c * c
	}
	norm := math.Sqrt(sum)
	vector := make([]float32, bowDim)
	for i, c := range counts {
		vector[i] = float32(c / norm)
	}
	return vector
}

// TokenIDs implements [Encoder]: the bucket of each word.
func (b *Bow) TokenIDs(text string) ([]int64, error) { return bowBuckets(text), nil }

func bowBuckets(text string) []int64 {
	words := bowWords(strings.ToLower(text))
	ids := make([]int64, len(words))
	for i, w := range words {
		sum := md5.Sum([]byte(w))
		ids[i] = int64(sum[len(sum)-1]) // a big-endian integer modulo 256 is its last byte
	}
	return ids
}

// Tokens implements [Encoder]: the number of words.
func (b *Bow) Tokens(text string) int { return len(bowWords(text)) }

// Recipe implements [Encoder].
func (b *Bow) Recipe() Recipe { return b.recipe }

// Close implements [Encoder]; there is nothing to free.
func (b *Bow) Close() error { return nil }

// bowWords splits where Python's str.split does, which also takes the four
// ASCII separators for white space.
func bowWords(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f })
}
