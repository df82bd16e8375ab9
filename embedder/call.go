package embedder

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"chunktide/chunk"
)

// call is one call of Encode.
type call struct {
	e      *ONNX
	number uint64 // earlier calls have lower ones
	out    []chunk.Embedding

	mu       sync.Mutex
	rejected map[int]error
	// scarce is the refusal of a text for want of memory, if there was one.
	scarce error
	// padded counts what went through the model, tokens and padding.
	padded atomic.Int64
}

func (e *ONNX) newCall(texts int) *call {
	return &call{e: e, number: e.calls.Add(1), out: make([]chunk.Embedding, texts), rejected: map[int]error{}}
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

// A goroutine is worth its while from so many bytes of text on, and takes so
// many texts at once.
const (
	tokenizeBytes = 32 << 10
	tokenizeTexts = 16
)

// tokenize returns the texts that go through the model, in the call's order.
// It uses several cores when there is much text. What it costs the runs of an
// earlier call that go on meanwhile is less than the wait that it saves.
func (c *call) tokenize(ctx context.Context, texts []string, prefix string) ([]text, error) {
	size := 0
	for _, s := range texts {
		size += len(prefix) + len(s)
	}
	all := make([]text, len(texts))
	var next atomic.Int64
	together(min(runtime.GOMAXPROCS(0), 1+size/tokenizeBytes), func() {
		for ctx.Err() == nil {
			end := int(next.Add(tokenizeTexts))
			if end-tokenizeTexts >= len(texts) {
				return
			}
			for i := end - tokenizeTexts; i < min(end, len(texts)); i++ {
				ids, total := c.e.words.Encode(nil, prefix+texts[i], c.e.recipe.MaxTokens)
				all[i] = text{index: i, ids: ids, total: total}
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.accept(all), nil
}

// accept returns the texts that the model takes, and rejects the others.
func (c *call) accept(texts []text) []text {
	todo := texts[:0]
	for _, t := range texts {
		tooLong := c.e.recipe.fits(t.total)
		switch {
		case tooLong != nil:
			c.reject(t.index, tooLong)
		case len(t.ids) == 0:
			c.reject(t.index, chunk.Permanentf(chunk.ReasonBadVector, "the text has no tokens, so there is no vector for it"))
		default:
			todo = append(todo, t)
		}
	}
	return todo
}

// finish puts the texts through the model and returns what the call is to
// return; counted is told how many tokens went through, padding included. The
// texts are sorted in place.
func (c *call) finish(ctx context.Context, todo []text, counted func(padded int)) ([]chunk.Embedding, error) {
	if err := c.runAll(ctx, plan(todo, c.e.shapes.within(c.e.scarcity.tokens()))); err != nil {
		return nil, err
	}
	if c.scarce != nil && !c.served() {
		// Nothing went through, so it is not the one text's fault: whoever
		// calls must not take every text for a bad one.
		return nil, c.scarce
	}
	counted(int(c.padded.Load()))
	if len(c.rejected) > 0 {
		return c.out, &chunk.Rejected{Texts: c.rejected}
	}
	return c.out, nil
}

// served reports whether any text has its vector.
func (c *call) served() bool {
	for i := range c.out {
		if c.out[i].Vector != nil {
			return true
		}
	}
	return false
}

// runAll executes the runs, in their order, on as many lanes as it is given,
// and stops at the first error.
func (c *call) runAll(ctx context.Context, runs []run) error {
	if len(runs) == 0 {
		return ctx.Err()
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	together(min(c.e.width, len(runs)), func() {
		c.work(inner, cancel, runs, &next)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	return context.Cause(inner)
}

// work waits for a lane and executes runs on it, as long as there are some and
// no earlier call waits for it.
func (c *call) work(ctx context.Context, cancel context.CancelCauseFunc, runs []run, next *atomic.Int64) {
	m, err := c.e.lanes.take(ctx, c.number)
	if err != nil {
		return
	}
	defer func() {
		if m != nil {
			c.e.lanes.give(m)
		}
	}()
	for {
		i := int(next.Add(1)) - 1 // only now, so that the runs begin in their order
		if i >= len(runs) {
			return
		}
		if err := c.execute(ctx, m, runs[i]); err != nil {
			cancel(err)
			return
		}
		if i == len(runs)-1 {
			return
		}
		if m, err = c.e.lanes.keep(ctx, m, c.number); err != nil {
			return
		}
	}
}

// execute puts a run through the model. If the device has no memory for it,
// it goes in parts, and so do all that are as large.
func (c *call) execute(ctx context.Context, m model, r run) error {
	if len(r.texts) == 1 || r.padded() <= c.e.scarcity.tokens() {
		err := m.run(ctx, r, func(out []float32) { c.pool(r, out) })
		switch {
		case err == nil:
			c.padded.Add(int64(r.padded()))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !outOfMemory(err):
			return chunk.Permanent(chunk.ReasonEncoderRefused, fmt.Errorf("run the model on %d texts of up to %d tokens: %w", len(r.texts), r.length, err))
		}
		c.e.scarcity.failed(r.padded(), err)
		if len(r.texts) == 1 {
			c.rejectScarce(r, err)
			return nil
		}
	}
	limits := c.e.shapes.within(c.e.scarcity.tokens())
	limits.lanes = 1 // it has one
	for _, part := range plan(r.texts, limits) {
		if err := c.execute(ctx, m, part); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) rejectScarce(r run, cause error) {
	err := chunk.Permanent(chunk.ReasonEncoderRefused, fmt.Errorf("the device has no memory to run the model on one text of %d tokens: lower embedder.max_tokens, "+
		"raise embedder.gpu.memory_bytes, or free memory on it: %w", len(r.texts[0].ids), cause))
	c.reject(r.texts[0].index, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scarce = err
}

// pool makes the vectors of a run's texts, each in its place in the call.
func (c *call) pool(r run, out []float32) {
	sig := c.e.sig
	row := r.length * sig.hidden
	if sig.pooled {
		row = sig.hidden
	}
	for i, t := range r.texts {
		vector, err := pooled(c.e.recipe.cut(t.dim), out[i*row:(i+1)*row], len(t.ids), sig.hidden)
		if err != nil {
			c.reject(t.index, err)
			continue
		}
		c.out[t.index] = chunk.Embedding{Vector: vector, Tokens: len(t.ids), Truncated: t.total > len(t.ids)}
	}
}
