package embedder

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"chunktide/chunk"
)

// remoteCall is one call of Encode.
type remoteCall struct {
	r     *Remote
	query bool
	texts []string

	mu       sync.Mutex
	out      []chunk.Embedding
	rejected map[int]error
	taken    int // texts that got a vector
}

func (r *Remote) encode(ctx context.Context, texts []string, query bool) ([]chunk.Embedding, error) {
	c := &remoteCall{r: r, query: query, texts: texts, out: make([]chunk.Embedding, len(texts)), rejected: map[int]error{}}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	group, inner := errgroup.WithContext(ctx)
	for _, part := range c.parts() {
		group.Go(func() error { return c.send(inner, part) })
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("encode by the service: %w", err)
	}
	if len(c.rejected) > 0 && c.taken == 0 {
		if err := c.control(ctx); err != nil {
			return nil, err
		}
	}
	tokens := 0
	for _, e := range c.out {
		tokens += e.Tokens
	}
	r.metrics.encoded(kindOf(query), c.taken, tokens, 0)
	if len(c.rejected) > 0 {
		return c.out, &chunk.Rejected{Texts: c.rejected}
	}
	return c.out, nil
}

// parts cuts the call into requests, of indexes.
func (c *remoteCall) parts() (parts [][]int) {
	limits := c.r.cfg.Remote
	most := limits.RequestTexts
	if c.r.sendsProbe() {
		most-- // the probe has a place
	}
	tokens := 0
	for i, text := range c.texts {
		n := c.r.Tokens(text)
		last := len(parts) - 1
		if last < 0 || len(parts[last]) == most || tokens+n > limits.RequestTokens {
			parts, tokens = append(parts, nil), 0
			last++
		}
		parts[last] = append(parts[last], i)
		tokens += n
	}
	return parts
}

func (r *Remote) sendsProbe() bool { return r.cfg.Remote.probes() && r.cfg.Remote.ProbeRequests }

// prefixed is the text as the service is to read it. Chunktide's puts its own
// prefixes.
func (c *remoteCall) prefixed(i int) string {
	if c.query {
		return c.r.cfg.QueryPrefix + c.texts[i]
	}
	return c.r.cfg.Prefix + c.texts[i]
}

// send has some texts encoded. Of a refused request it finds the texts at
// fault.
func (c *remoteCall) send(ctx context.Context, part []int) error {
	texts := make([]string, len(part), len(part)+1)
	for k, i := range part {
		texts[k] = c.prefixed(i)
	}
	probe := -1
	if c.r.sendsProbe() {
		all := probeTexts()
		probe = int(c.r.probe.Add(1) % uint64(len(all)))
		texts = append(texts, all[probe])
	}
	answer, err := c.r.answer(ctx, texts, c.query)
	var refused *refusedError
	if errors.As(err, &refused) {
		return c.narrow(ctx, part, refused)
	}
	if err != nil {
		return err
	}
	if probe >= 0 {
		if err := c.r.recognizeProbe(probe, answer.vectors[len(part)]); err != nil {
			return err
		}
	}
	for k, i := range part {
		if err := c.take(i, answer.vectors[k]); err != nil {
			return err
		}
	}
	return nil
}

// recognizeProbe returns an error if an answer's probe is another model's.
func (r *Remote) recognizeProbe(probe int, v wireVector) error {
	if len(v.vector) != r.known.dim || !usable(v.vector) {
		return r.anotherModel(r.recipe.ModelVersion(), fmt.Sprintf("of %d dimensions", len(v.vector)))
	}
	if d := r.known.probes[probe].distance(sketchOf(v.vector)); !(d <= r.cfg.Remote.ProbeTolerance) {
		return r.anotherModel(r.recipe.ModelVersion(), fmt.Sprintf("whose vector of probe %d is off by %.3g of its length", probe, d))
	}
	return nil
}

// narrow rejects the texts that the service named, or the only one, and sends
// the others again, by halves where it named none.
func (c *remoteCall) narrow(ctx context.Context, part []int, refused *refusedError) error {
	if len(part) == 1 {
		cause := refused.texts[0]
		if cause == nil {
			cause = chunk.Permanent(chunk.ReasonEncoderRefused, refused)
		}
		c.reject(part[0], cause)
		return nil
	}
	var rest []int
	for k, i := range part {
		if cause := refused.texts[k]; cause != nil {
			c.reject(i, cause)
		} else {
			rest = append(rest, i)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	if len(rest) < len(part) {
		return c.send(ctx, rest)
	}
	half := len(part) / 2
	if err := c.send(ctx, part[:half]); err != nil {
		return err
	}
	return c.send(ctx, part[half:])
}

func (c *remoteCall) reject(i int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected[i] = err
}

// take checks a vector and keeps it for text i.
func (c *remoteCall) take(i int, v wireVector) error {
	dim := c.r.recipe.Dim
	if v.vector != nil && len(v.vector) != dim {
		return c.r.anotherModel(fmt.Sprintf("%s of %d dimensions", c.r.recipe.ModelVersion(), dim), fmt.Sprintf("of %d dimensions", len(v.vector)))
	}
	if !usable(v.vector) {
		c.reject(i, chunk.Permanentf(chunk.ReasonBadVector, "the service gave a vector that is zero, or not finite"))
		return nil
	}
	vector := v.vector
	if c.r.cfg.Remote.probes() {
		wide := make([]float64, dim)
		widen(wide, vector)
		var err error
		if vector, err = finished(wide, c.r.cfg.Normalize); err != nil {
			c.reject(i, err)
			return nil
		}
	}
	if v.tokens == 0 {
		v.tokens = c.r.Tokens(c.texts[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[i] = chunk.Embedding{Vector: vector, Tokens: v.tokens, Truncated: v.truncated}
	c.taken++
	return nil
}

// control asks for a text that was taken at the start. If it is refused too,
// the texts of the call are not at fault.
func (c *remoteCall) control(ctx context.Context) error {
	_, err := c.r.answer(ctx, c.r.sample(), c.query)
	var refused *refusedError
	if errors.As(err, &refused) {
		// Not wrapped: it is no text's fault.
		return fmt.Errorf("the service at %s refuses everything now, which it did not at the start: %s; check embedder.remote and the service's log", c.r.cfg.Remote.URL, refused.Error())
	}
	return err
}
