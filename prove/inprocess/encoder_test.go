//go:build synctests

package inprocess

import (
	"context"
	"errors"
	"math"
	"sync"

	"chunktide/chunk"
	"chunktide/embedder"
)

// dim is a fraction of the bag of words' own: under the race detector most of
// the time would otherwise go into moving vectors.
const dim = 32

// words is the bag of words folded to a few dimensions. All workers share it,
// since it has no state but the count of what it is asked.
type words struct {
	*embedder.Bow
	mu    sync.Mutex
	calls map[string]int
}

func newWords() *words { return &words{Bow: embedder.NewBow("folded", nil), calls: map[string]int{}} }

// Recipe implements embedder.Encoder.
func (c *words) Recipe() embedder.Recipe {
	r := c.Bow.Recipe()
	r.Dim = dim
	return r
}

// Encode implements embedder.Encoder.
func (c *words) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	c.mu.Lock()
	for _, text := range texts {
		// What has no words has no vector to keep: it is refused each time.
		if c.Tokens(text) > 0 {
			c.calls[text]++
		}
	}
	c.mu.Unlock()
	return c.vectors(ctx, texts)
}

// vectors encodes without counting.
func (c *words) vectors(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	out, err := c.Bow.Encode(ctx, texts)
	var rejected *chunk.Rejected
	if err != nil && !errors.As(err, &rejected) {
		return nil, err
	}
	for i := range out {
		if out[i].Vector != nil {
			out[i].Vector = fold(out[i].Vector)
		}
	}
	return out, err
}

func fold(v []float32) []float32 {
	out := make([]float32, dim)
	var norm float64
	for i, x := range v {
		out[i%dim] += x
	}
	for _, x := range out {
		norm += float64(x) * float64(x)
	}
	for i := range out {
		out[i] = float32(float64(out[i]) / math.Sqrt(norm))
	}
	return out
}

// counted is how many texts were encoded, and how many of them again.
func (c *words) counted() (calls, again int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.calls {
		calls += n
		again += n - 1
	}
	return calls, again
}
