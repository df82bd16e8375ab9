package sink

import (
	"context"
	"fmt"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// Replace writes states in place of those that the caller has seen: each only
// if the index still holds the version that stands in seen, living or a
// tombstone as there. It is the tool for mending what the fence of Apply holds
// back, since it is not new: a wrong vector, a state that nobody published. A
// write that came between stays, whatever its version, and so does a delete that took
// over the version; then nothing is done, and no error returned.
//
// Versions are those to be stored, and may be lower than what is replaced. A
// point that is not in seen was not in the index; one without a version, which
// somebody else wrote, is replaced by any. Other than that it is like Apply:
// nil means durable, and an upsert whose document was deleted at a higher
// version ends as a tombstone.
func (s *Sink) Replace(ctx context.Context, points []chunk.Point, seen map[chunk.ID]chunk.Stored) error {
	list := make([]*chunk.Point, len(points))
	done := make(map[chunk.ID]bool, len(points))
	for i := range points {
		p := &points[i]
		if err := s.check(p); err != nil {
			return err
		}
		if p.Op == chunk.DeleteDocument || done[p.ID] {
			return fmt.Errorf("point %s: only chunks are replaced, and each once in a call", p.ID)
		}
		done[p.ID], list[i] = true, p
	}
	err := s.write(ctx, func(p *chunk.Point) []*qdrant.Condition {
		if st, ok := seen[p.ID]; ok && st.Version.Valid() {
			return []*qdrant.Condition{qdrant.NewFilterAsCondition(&qdrant.Filter{MustNot: []*qdrant.Condition{asSeen(st)}})}
		}
		return newer(p)
	}, list)
	if err != nil {
		return err
	}
	return s.deleteDocuments(ctx, nil, list)
}

// asSeen matches a point that is still in the state st.
func asSeen(st chunk.Stored) *qdrant.Condition {
	v := float64(st.Version)
	f := &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewRange(pathVersion, &qdrant.Range{Gte: &v, Lte: &v})}}
	// Not "tomb is false": whoever left the field out meant a living chunk.
	if tomb := qdrant.NewMatchBool(pathTombstone, true); st.Tombstone {
		f.Must = append(f.Must, tomb)
	} else {
		f.MustNot = []*qdrant.Condition{tomb}
	}
	return qdrant.NewFilterAsCondition(f)
}
