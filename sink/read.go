package sink

import (
	"context"
	"fmt"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// majority asks so many replicas that a write which a majority confirmed is
// seen. With one replica it asks that one.
func majority() *qdrant.ReadConsistency {
	return &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Type{Type: qdrant.ReadConsistencyType_Majority}}
}

// pageSize is how many points one read returns.
const pageSize = 1000

// ownOnly selects what is needed to delete a chunk, not its content.
func ownOnly() *qdrant.WithPayloadSelector {
	return qdrant.NewWithPayloadInclude(keySource, keyDocument, keyChunk, keyOwn)
}

// Read returns what the index holds for those of the ids that it knows,
// tombstones included; with content also text and vector. Double ids are
// fine.
func (c *reader) Read(ctx context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error) {
	out := make(map[chunk.ID]chunk.Stored, len(ids))
	selector := qdrant.NewWithPayloadInclude(keyOwn)
	vectors := qdrant.NewWithVectors(false)
	page := pageSize
	if content {
		selector = qdrant.NewWithPayloadInclude(keyOwn, c.cfg.TextKey)
		vectors = qdrant.NewWithVectorsInclude(vectorName)
		page = c.cfg.RequestPoints
	}
	for len(ids) > 0 {
		n := min(page, len(ids))
		wanted := make([]*qdrant.PointId, n)
		for i, id := range ids[:n] {
			wanted[i] = pointID(id)
		}
		ids = ids[n:]
		err := c.do(ctx, opRead, func(ctx context.Context) error {
			answer, err := c.points.Get(ctx, &qdrant.GetPoints{
				CollectionName: c.collection, Ids: wanted, WithPayload: selector, WithVectors: vectors, ReadConsistency: majority(),
			})
			if err != nil {
				return err
			}
			for _, p := range answer.GetResult() {
				r := decode(&c.cfg, p.GetId(), p.GetPayload())
				out[r.ID] = c.stored(r, p.GetVectors().GetVectors().GetVectors()[vectorName])
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *reader) stored(r Record, vector *qdrant.VectorOutput) chunk.Stored {
	st := chunk.Stored{
		Version: r.Version, Tombstone: r.Tombstone, Hash: r.Hash, Origin: r.origin(), EventTime: r.EventTime,
	}
	if r.Tombstone {
		return st
	}
	st.Text, st.Foreign = r.Text, !c.model.made(r.ModelVersion)
	if !st.Foreign {
		st.Embedding = chunk.Embedding{Vector: dense(vector), Tokens: r.Tokens, Truncated: r.Truncated}
	}
	return st
}

// Scroll visits every point of the collection in the order of ids, tombstones
// included, without vectors. It is no snapshot: what changes meanwhile may be
// seen before or after.
func (c *reader) Scroll(ctx context.Context, visit func(Record) error) error {
	return c.scroll(ctx, nil, qdrant.NewWithPayload(true), visit)
}

func (c *reader) scroll(ctx context.Context, filter *qdrant.Filter, payload *qdrant.WithPayloadSelector, visit func(Record) error) error {
	return c.scrollFrom(ctx, nil, pageSize, filter, payload, visit)
}

// scrollFrom begins at the point offset, or at the first one that follows it.
func (c *reader) scrollFrom(ctx context.Context, offset *qdrant.PointId, page uint32, filter *qdrant.Filter,
	payload *qdrant.WithPayloadSelector, visit func(Record) error,
) error {
	for {
		var answer *qdrant.ScrollResponse
		err := c.do(ctx, opScroll, func(ctx context.Context) (err error) {
			answer, err = c.points.Scroll(ctx, &qdrant.ScrollPoints{
				CollectionName: c.collection, Filter: filter, Offset: offset, Limit: &page,
				WithPayload: payload, WithVectors: qdrant.NewWithVectors(false), ReadConsistency: majority(),
			})
			return err
		})
		if err != nil {
			return err
		}
		for _, p := range answer.GetResult() {
			if err := visit(decode(&c.cfg, p.GetId(), p.GetPayload())); err != nil {
				return err
			}
		}
		if offset = answer.GetNextPageOffset(); offset == nil {
			return nil
		}
	}
}

// Live counts the searchable chunks, exactly.
func (c *reader) Live(ctx context.Context) (int, error) {
	return c.count(ctx, &qdrant.Filter{MustNot: []*qdrant.Condition{qdrant.NewMatchBool(pathTombstone, true)}})
}

func (c *reader) count(ctx context.Context, filter *qdrant.Filter) (int, error) {
	var n uint64
	err := c.do(ctx, opCount, func(ctx context.Context) error {
		answer, err := c.points.Count(ctx, &qdrant.CountPoints{
			CollectionName: c.collection, Exact: qdrant.PtrOf(true), ReadConsistency: majority(), Filter: filter,
		})
		n = answer.GetResult().GetCount()
		return err
	})
	return int(n), err
}

// Hit is a chunk that a search found.
type Hit struct {
	// Score is the cosine similarity, at most 1.
	Score float32 `json:"score"`
	Record
}

// Search returns the chunks nearest to a vector, best first, through the
// alias: it follows when the alias moves.
func (c *reader) Search(ctx context.Context, vector []float32, limit int) ([]Hit, error) {
	return c.searchIn(ctx, c.cfg.Index, vector, limit, nil)
}

// SearchChunk is Search for one chunk only: it tells whether readers find it
// now, and what. It is false while they do not.
func (c *reader) SearchChunk(ctx context.Context, vector []float32, id chunk.ID) (Hit, bool, error) {
	only := &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewHasID(pointID(id))}}
	hits, err := c.searchIn(ctx, c.cfg.Index, vector, 1, only)
	if err != nil || len(hits) == 0 {
		return Hit{}, false, err
	}
	return hits[0], true, nil
}

// SearchHere is Search in the collection itself, whatever the alias points to.
func (c *reader) SearchHere(ctx context.Context, vector []float32, limit int) ([]Hit, error) {
	return c.searchIn(ctx, c.collection, vector, limit, nil)
}

func (c *reader) searchIn(ctx context.Context, collection string, vector []float32, limit int, filter *qdrant.Filter) ([]Hit, error) {
	if len(vector) != c.model.Dim {
		return nil, fmt.Errorf("the query has %d dimensions, the index has %d: encode it with %s", len(vector), c.model.Dim, c.model.Version)
	}
	var hits []Hit
	err := c.do(ctx, opSearch, func(ctx context.Context) error {
		answer, err := c.points.Query(ctx, &qdrant.QueryPoints{
			CollectionName: collection, Query: qdrant.NewQueryDense(vector), Using: qdrant.PtrOf(vectorName), Filter: filter,
			Limit: qdrant.PtrOf(uint64(limit)), WithPayload: qdrant.NewWithPayload(true),
		})
		if err != nil {
			return err
		}
		hits = hits[:0]
		for _, p := range answer.GetResult() {
			// Between the two steps of a delete a tombstone may still be found.
			if r := decode(&c.cfg, p.GetId(), p.GetPayload()); !r.Tombstone {
				hits = append(hits, Hit{Score: p.GetScore(), Record: r})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", collection, err)
	}
	return hits, nil
}
