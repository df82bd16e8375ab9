package migrate

import (
	"context"
	"fmt"
	"sync"

	"chunktide/chunk"
)

// Vectors is a collection that stores vectors; see pipeline.Sink's Read.
type Vectors interface {
	Read(ctx context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error)
}

// Texts is a collection that is read from beginning to end; see package
// backfill's Stored.
type Texts interface {
	Events(ctx context.Context, after chunk.ID, visit func(id chunk.ID, e chunk.Event, err error) error) error
}

// Cutter takes the place of the model while a collection is filled from one
// that has more dimensions: it cuts the stored vectors. It hands out texts
// ([Cutter.Events]) and remembers whose they are, until it is asked for their
// vectors ([Cutter.Encode]). It is safe for concurrent use.
type Cutter struct {
	from struct {
		Vectors
		Texts
	}
	dim  int
	cut  func(vector []float32, dim int) ([]float32, error)
	keep int
	rest func(ctx context.Context, texts []string) ([]chunk.Embedding, error)

	mu     sync.Mutex
	owner  map[chunk.Hash]chunk.ID
	order  []chunk.Hash // oldest first
	cutOff int64
	left   int64
}

// NewCutter cuts to dim. Keep is how many texts may be under way at once. Rest
// encodes a text of which the collection has no vector any more: one that was
// edited between the two looks.
func NewCutter(texts Texts, vectors Vectors, dim, keep int, cut func([]float32, int) ([]float32, error),
	rest func(context.Context, []string) ([]chunk.Embedding, error),
) *Cutter {
	c := &Cutter{dim: dim, cut: cut, keep: keep, rest: rest, owner: map[chunk.Hash]chunk.ID{}}
	c.from.Vectors, c.from.Texts = vectors, texts
	return c
}

// Events implements [Texts].
func (c *Cutter) Events(ctx context.Context, after chunk.ID, visit func(id chunk.ID, e chunk.Event, err error) error) error {
	return c.from.Events(ctx, after, func(id chunk.ID, e chunk.Event, err error) error {
		if err == nil && e.Text != "" {
			c.remember(chunk.HashText(e.Text), id)
		}
		return visit(id, e, err)
	})
}

func (c *Cutter) remember(hash chunk.Hash, id chunk.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.owner[hash]; !known {
		c.order = append(c.order, hash)
	}
	c.owner[hash] = id
	for len(c.order) > c.keep {
		delete(c.owner, c.order[0])
		c.order = c.order[1:]
	}
}

// Encode returns the cut vectors of texts, as an encoder would.
func (c *Cutter) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	hashes, ids := make([]chunk.Hash, len(texts)), make([]chunk.ID, len(texts))
	var wanted []chunk.ID
	c.mu.Lock()
	for i, text := range texts {
		hashes[i] = chunk.HashText(text)
		if id, ok := c.owner[hashes[i]]; ok {
			ids[i] = id
			wanted = append(wanted, id)
		}
	}
	c.mu.Unlock()
	stored, err := c.from.Read(ctx, wanted, true)
	if err != nil {
		return nil, fmt.Errorf("read %d vectors to cut: %w", len(wanted), err)
	}
	out := make([]chunk.Embedding, len(texts))
	var missing []int
	refused := map[int]error{}
	for i := range texts {
		st, ok := stored[ids[i]]
		if !ok || st.Hash != hashes[i] || st.Embedding.Vector == nil {
			missing = append(missing, i)
			continue
		}
		out[i] = st.Embedding
		if out[i].Vector, err = c.cut(st.Embedding.Vector, c.dim); err != nil {
			out[i], refused[i] = chunk.Embedding{}, err
		}
	}
	if err := c.encodeRest(ctx, texts, missing, out, refused); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.cutOff += int64(len(texts) - len(missing))
	c.left += int64(len(missing))
	c.mu.Unlock()
	if len(refused) > 0 {
		return out, &chunk.Rejected{Texts: refused}
	}
	return out, nil
}

func (c *Cutter) encodeRest(ctx context.Context, texts []string, missing []int, out []chunk.Embedding, refused map[int]error) error {
	if len(missing) == 0 {
		return nil
	}
	rest := make([]string, len(missing))
	for k, i := range missing {
		rest[k] = texts[i]
	}
	embeddings, err := c.rest(ctx, rest)
	rejected, some := err.(*chunk.Rejected) //nolint:errorlint // as an encoder returns it
	if err != nil && !some {
		return err
	}
	if len(embeddings) != len(rest) {
		return fmt.Errorf("the encoder returned %d vectors for %d texts", len(embeddings), len(rest))
	}
	for k, i := range missing {
		out[i] = embeddings[k]
		if some && rejected.Texts[k] != nil {
			refused[i] = rejected.Texts[k]
		}
	}
	return nil
}

// Counts are how many texts got a cut vector, and how many were encoded.
func (c *Cutter) Counts() (cut, encoded int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cutOff, c.left
}
