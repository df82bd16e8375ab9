package sink

import (
	"context"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// Outline is Scroll without text and metadata: what is needed to compare the
// index with its source, for a fraction of the bytes.
func (c *reader) Outline(ctx context.Context, visit func(Record) error) error {
	return c.scroll(ctx, nil, ownOnly(), visit)
}

// Remains visits the tombstones that still have a text or a vector. The vector
// is found by every search, and the text lies there for everyone to read.
func (c *reader) Remains(ctx context.Context, visit func(Record) error) error {
	return c.scroll(ctx, &qdrant.Filter{
		Must: []*qdrant.Condition{qdrant.NewMatchBool(pathTombstone, true)},
		Should: []*qdrant.Condition{
			qdrant.NewHasVector(vectorName),
			qdrant.NewFilterAsCondition(&qdrant.Filter{MustNot: []*qdrant.Condition{qdrant.NewIsEmpty(c.cfg.TextKey)}}),
		},
	}, ownOnly(), visit)
}

// Blind visits the living chunks that have no vector, so that no search finds
// them.
func (c *reader) Blind(ctx context.Context, visit func(Record) error) error {
	return c.scroll(ctx, &qdrant.Filter{
		MustNot: []*qdrant.Condition{qdrant.NewMatchBool(pathTombstone, true), qdrant.NewHasVector(vectorName)},
	}, ownOnly(), visit)
}

// Look returns the records of those ids that the index knows, with text and
// metadata, without vectors.
func (c *reader) Look(ctx context.Context, ids []chunk.ID) (map[chunk.ID]Record, error) {
	out := make(map[chunk.ID]Record, len(ids))
	for len(ids) > 0 {
		n := min(c.cfg.RequestPoints, len(ids))
		wanted := make([]*qdrant.PointId, n)
		for i, id := range ids[:n] {
			wanted[i] = pointID(id)
		}
		ids = ids[n:]
		err := c.do(ctx, opRead, func(ctx context.Context) error {
			answer, err := c.points.Get(ctx, &qdrant.GetPoints{
				CollectionName: c.collection, Ids: wanted, WithPayload: qdrant.NewWithPayload(true),
				WithVectors: qdrant.NewWithVectors(false), ReadConsistency: majority(),
			})
			for _, p := range answer.GetResult() {
				r := decode(&c.cfg, p.GetId(), p.GetPayload())
				out[r.ID] = r
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
