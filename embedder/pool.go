package embedder

import (
	"fmt"
	"math"

	"chunktide/chunk"
)

// pooled makes a text's vector of the vectors of its tokens: rows holds
// tokens × hidden values. All sums are in float64 and in the tokens' order,
// so that nothing but the text itself decides a bit of the result.
func pooled(r Recipe, rows []float32, tokens, hidden int) ([]float32, error) {
	sum := make([]float64, hidden)
	switch r.Pooling {
	case PoolMean:
		for t := range tokens {
			for i, v := range rows[t*hidden : (t+1)*hidden] {
				sum[i] += float64(v)
			}
		}
		for i := range sum {
			sum[i] /= float64(tokens)
		}
	case PoolLast:
		widen(sum, rows[(tokens-1)*hidden:tokens*hidden])
	default: // the first token's, or the one row that the graph pooled
		widen(sum, rows[:hidden])
	}
	v, err := finished(sum, r.Normalize)
	if err != nil || r.Dim == hidden {
		return v, err
	}
	return CutVector(v, r.Dim)
}

// CutVector is the first dim values of a vector, scaled to length 1 (Matryoshka
// representation learning, arXiv 2205.13147, section 3). Of the vector that a
// recipe gives it is, bit for bit, the one that the recipe cut to dim gives
// ([Recipe.Cut]): so vectors that are stored can be cut without the model. It
// fails if those values are all zero.
func CutVector(v []float32, dim int) ([]float32, error) {
	if dim < 1 || dim > len(v) {
		return nil, fmt.Errorf("a vector of %d values cannot be cut to %d", len(v), dim)
	}
	wide := make([]float64, dim)
	widen(wide, v[:dim])
	return finished(wide, true)
}

func widen(dst []float64, src []float32) {
	for i, v := range src {
		dst[i] = float64(v)
	}
}

// finished scales a vector to length 1, if wanted, and checks that it can be
// compared with others.
func finished(v []float64, normalize bool) ([]float32, error) {
	square := 0.0
	for _, x := range v {
		square += x * x
	}
	norm := math.Sqrt(square)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return nil, chunk.Permanentf(chunk.ReasonBadVector, "the model gave a vector that is not finite")
	}
	if norm == 0 {
		return nil, chunk.Permanentf(chunk.ReasonBadVector, "the model gave a vector of zeros")
	}
	scale := 1.0
	if normalize {
		scale = norm
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x / scale)
		if math.IsInf(float64(out[i]), 0) {
			return nil, chunk.Permanentf(chunk.ReasonBadVector, "the model gave a vector that is not finite")
		}
	}
	return out, nil
}
