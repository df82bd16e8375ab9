package embedder

import (
	"context"
	"fmt"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"chunktide/chunk"
)

// call is one call of Encode.
type call struct {
	e   *ONNX
	out []chunk.Embedding

	mu       sync.Mutex
	rejected map[int]error
}

func (c *call) reject(index int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected[index] = err
}

// fits returns an error if a text of so many tokens is to be refused.
func (r Recipe) fits(tokens int) error {
	if tokens <= r.MaxTokens || r.Overflow != OverflowError {
		return nil
	}
	return chunk.Permanentf(chunk.ReasonTooManyTokens,
		"the text has %d tokens and the model reads %d: send smaller chunks, or set embedder.overflow to truncate", tokens, r.MaxTokens)
}

// tokenize returns the texts that go through the model.
func (c *call) tokenize(ctx context.Context, texts []string, prefix string) ([]text, error) {
	todo := make([]text, 0, len(texts))
	for i, s := range texts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ids, total := c.e.words.Encode(nil, prefix+s, c.e.recipe.MaxTokens)
		tooLong := c.e.recipe.fits(total)
		switch {
		case tooLong != nil:
			c.reject(i, tooLong)
		case len(ids) == 0:
			c.reject(i, chunk.Permanentf(chunk.ReasonBadVector, "the text has no tokens, so there is no vector for it"))
		default:
			todo = append(todo, text{index: i, ids: ids, total: total})
		}
	}
	return todo, nil
}

// runAll executes the runs, at most one for each slot at once, and stops at
// the first error.
func (c *call) runAll(ctx context.Context, runs []run) error {
	if len(runs) == 0 {
		return ctx.Err()
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	options, free, err := cancelable(inner)
	if err != nil {
		return fmt.Errorf("prepare a run: %w", err)
	}
	defer free()

	next := make(chan run, len(runs))
	for _, r := range runs {
		next <- r
	}
	close(next)
	var wg sync.WaitGroup
	for range min(cap(c.e.slots), len(runs)) {
		wg.Go(func() {
			for r := range next {
				if err := c.runOne(inner, r, options); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return context.Cause(inner)
}

// runOne executes a run and pools its texts' vectors, each into its place.
func (c *call) runOne(ctx context.Context, r run, options *ort.RunOptions) error {
	select {
	case c.e.slots <- struct{}{}:
		defer func() { <-c.e.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil { // select picks either when both are ready
		return err
	}
	sig := c.e.model.sig
	row := r.length * sig.hidden
	if sig.pooled {
		row = sig.hidden
	}
	err := c.e.model.run(r, c.e.words.PadID(), options, func(out []float32) {
		for i, t := range r.texts {
			vector, err := pooled(c.e.recipe.cut(t.dim), out[i*row:(i+1)*row], len(t.ids), sig.hidden)
			if err != nil {
				c.reject(t.index, err)
				continue
			}
			c.out[t.index] = chunk.Embedding{Vector: vector, Tokens: len(t.ids), Truncated: t.total > len(t.ids)}
		}
	})
	if err != nil {
		return chunk.Permanent(chunk.ReasonEncoderRefused, fmt.Errorf("run the model on %d texts of up to %d tokens: %w", len(r.texts), r.length, err))
	}
	return nil
}
