package sink

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"golang.org/x/sync/errgroup"

	"chunktide/chunk"
)

// fence is the condition of a write: which stored states of a point hold it
// back.
type fence func(p *chunk.Point) []*qdrant.Condition

// newer lets a write replace lower versions only.
func newer(p *chunk.Point) []*qdrant.Condition {
	limit := float64(p.Version) // exact: versions are below 2^53
	return []*qdrant.Condition{qdrant.NewRange(pathVersion, &qdrant.Range{Gte: &limit})}
}

// same lets it replace equal versions as well. It is for tombstones that take
// over the version of what they remove.
func same(p *chunk.Point) []*qdrant.Condition {
	limit := float64(p.Version)
	return []*qdrant.Condition{qdrant.NewRange(pathVersion, &qdrant.Range{Gt: &limit})}
}

// filter is the server's part of the fence: not one of the points whose
// stored state holds its write back. It is written as a denial so that a
// point without a version, which somebody else put there, is replaced; asking
// for "lower than mine" would never match it.
// The points stand there twice, as states and as they are sent.
func (f fence) filter(points []*chunk.Point, encoded []*qdrant.PointStruct) *qdrant.Filter {
	held := make([]*qdrant.Condition, len(points))
	for i, p := range points {
		held[i] = qdrant.NewFilterAsCondition(&qdrant.Filter{Must: append([]*qdrant.Condition{qdrant.NewHasID(encoded[i].GetId())}, f(p)...)})
	}
	return &qdrant.Filter{MustNot: []*qdrant.Condition{qdrant.NewFilterAsCondition(&qdrant.Filter{Should: held})}}
}

// Apply makes the index hold, for each point, a state at least as new; see
// pipeline.Sink. Points of one id must not stand there twice with a version.
//
// The order matters in one respect: the states with versions are durable
// before anything that follows from a document's delete or from a versionless
// one is looked for.
func (s *Sink) Apply(ctx context.Context, points []chunk.Point) error {
	var versioned, documents, versionless []*chunk.Point
	seen := make(map[chunk.ID]bool, len(points))
	for i := range points {
		p := &points[i]
		if p.Version == 0 && p.Op != chunk.Upsert {
			versionless = append(versionless, p)
			continue
		}
		if err := s.check(p); err != nil {
			return err
		}
		if seen[p.ID] {
			return fmt.Errorf("point %s stands twice in one write: collapse the batch first", p.ID)
		}
		seen[p.ID] = true
		if p.Op == chunk.DeleteDocument {
			if p.Version == 1 {
				continue // there is no version below it to remove
			}
			documents = append(documents, p)
		}
		versioned = append(versioned, p)
	}
	if err := s.write(ctx, newer, versioned); err != nil {
		return err
	}
	if err := s.deleteDocuments(ctx, documents, versioned); err != nil {
		return err
	}
	return s.deletePreceding(ctx, versionless)
}

// check refuses what Qdrant would store and never find again: it answers
// Completed to a NaN, and to a version that a double cannot hold.
func (s *Sink) check(p *chunk.Point) error {
	if !p.Version.Valid() {
		return chunk.Permanentf(chunk.ReasonBadVersion, "version %d of point %s is not in 1 … 2^53-1", p.Version, p.ID)
	}
	if p.Op != chunk.Upsert {
		return nil
	}
	if len(p.Embedding.Vector) != s.model.Dim {
		return chunk.Permanentf(chunk.ReasonBadVector, "vector of point %s has %d dimensions, the collection has %d", p.ID, len(p.Embedding.Vector), s.model.Dim)
	}
	var norm float64
	for _, x := range p.Embedding.Vector {
		norm += float64(x) * float64(x)
	}
	if norm == 0 || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return chunk.Permanentf(chunk.ReasonBadVector, "vector of point %s is zero or not finite: it cannot be compared", p.ID)
	}
	return nil
}

// write stores points under a fence, no two of one id, in requests that are
// bounded by points and bytes. After an error some of them may have been
// stored.
func (s *Sink) write(ctx context.Context, f fence, points []*chunk.Point) error {
	at := time.Now().UTC().Format(time.RFC3339Nano)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.ParallelRequests)
	for part := range slices.Chunk(points, s.cfg.RequestPoints) {
		group.Go(func() error { return s.writePart(ctx, f, part, at) })
	}
	return group.Wait()
}

// writePart writes points that are few enough for a request, in several if
// they are too large for one.
func (s *Sink) writePart(ctx context.Context, f fence, points []*chunk.Point, at string) error {
	for len(points) > 0 {
		request := make([]*qdrant.PointStruct, 0, len(points))
		var made values
		for _, p := range points {
			encoded, err := s.encode(p, at, &made)
			if err != nil {
				return err
			}
			if len(request) > 0 && made.bytes > s.cfg.RequestBytes {
				break
			}
			request = append(request, encoded)
		}
		if err := s.writeRequest(ctx, f, points[:len(request)], request); err != nil {
			return fmt.Errorf("write %d points to %s: %w", len(request), s.collection, err)
		}
		points = points[len(request):]
	}
	return nil
}

func (s *Sink) writeRequest(ctx context.Context, f fence, points []*chunk.Point, encoded []*qdrant.PointStruct) error {
	filter := f.filter(points, encoded)
	if s.unfenced {
		filter = nil
	}
	operations := []*qdrant.PointsUpdateOperation{{Operation: &qdrant.PointsUpdateOperation_Upsert{
		Upsert: &qdrant.PointsUpdateOperation_PointStructList{Points: encoded, UpdateFilter: filter},
	}}}
	var tombs []*qdrant.PointId
	for i, p := range points {
		if p.Op != chunk.Upsert {
			tombs = append(tombs, encoded[i].GetId())
		}
	}
	if len(tombs) > 0 {
		operations = append(operations, dropVectors(tombs))
	}
	s.metrics.fenced.Add(float64(len(points)))
	return s.update(ctx, operations)
}

// update runs operations in one request, until Qdrant has completed them all.
func (s *Sink) update(ctx context.Context, operations []*qdrant.PointsUpdateOperation) error {
	return s.do(ctx, opWrite, func(ctx context.Context) error {
		answer, err := s.points.UpdateBatch(ctx, &qdrant.UpdateBatchPoints{
			CollectionName: s.collection, Wait: qdrant.PtrOf(true), Operations: operations,
		})
		if err != nil {
			return err
		}
		if got := len(answer.GetResult()); got != len(operations) {
			return fmt.Errorf("%w: %d results for %d operations", errUnfinished, got, len(operations))
		}
		for _, r := range answer.GetResult() {
			// A nil error is not success: Acknowledged and WaitTimeout come
			// with one too.
			if r.GetStatus() != qdrant.UpdateStatus_Completed {
				return fmt.Errorf("%w: status %s", errUnfinished, r.GetStatus())
			}
		}
		return nil
	})
}

// dropVectors removes the vectors of points that are tombstones now. Up to
// 1.18 a point upserted without vectors over an optimised segment is still
// found by the vector it had.
func dropVectors(ids []*qdrant.PointId) *qdrant.PointsUpdateOperation {
	return dropVectorsOf(qdrant.NewHasID(ids...))
}

// dropVectorsOf is dropVectors for the tombstones that meet conditions. The
// one on the tombstone spares the points that the fence kept.
func dropVectorsOf(conditions ...*qdrant.Condition) *qdrant.PointsUpdateOperation {
	return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_DeleteVectors_{
		DeleteVectors: &qdrant.PointsUpdateOperation_DeleteVectors{
			PointsSelector: qdrant.NewPointsSelectorFilter(&qdrant.Filter{
				Must: append(conditions, qdrant.NewMatchBool(pathTombstone, true)),
			}),
			Vectors: &qdrant.VectorsSelector{Names: []string{vectorName}},
		},
	}}
}
