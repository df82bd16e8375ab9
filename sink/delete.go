package sink

import (
	"context"
	"fmt"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// document names a document within the index.
type document struct{ source, id string }

// deleteDocuments sees to it that no chunk older than its document's delete
// lives, whoever of deleter and writer came first.
//
// It is a handshake: the deleter has written the document's tombstone and now
// looks for chunks; a writer has written its chunk and now looks for the
// tombstone. Whichever looks second sees what the other wrote. Without the
// writer's half a late, old upsert of a chunk that the deleter could not see
// would stay for ever.
func (s *Sink) deleteDocuments(ctx context.Context, deleted, written []*chunk.Point) error {
	var doomed []*chunk.Point
	for _, d := range deleted {
		found, err := s.chunksBefore(ctx, d)
		if err != nil {
			return err
		}
		doomed = append(doomed, found...)
	}
	late, err := s.writtenTooLate(ctx, written)
	if err != nil {
		return err
	}
	if err := s.write(ctx, same, unique(append(doomed, late...))); err != nil {
		return err
	}
	return s.finishTorn(ctx, deleted, nil)
}

// finishTorn drops the vectors of tombstones that a delete came upon instead
// of living chunks. Whoever wrote them may have died before it had dropped the
// vector, Qdrant having given up its request half way; then this delete is the
// same one, repeated, and nobody else will do it.
func (s *Sink) finishTorn(ctx context.Context, documents []*chunk.Point, tombstones []*qdrant.PointId) error {
	var operations []*qdrant.PointsUpdateOperation
	for _, d := range documents {
		operations = append(operations, dropVectorsOf(qdrant.NewMatch(keySource, d.Source), qdrant.NewMatch(keyDocument, d.DocumentID)))
	}
	if len(tombstones) > 0 {
		operations = append(operations, dropVectors(tombstones))
	}
	if len(operations) == 0 {
		return nil
	}
	if err := s.update(ctx, operations); err != nil {
		return fmt.Errorf("drop the vectors of tombstones in %s: %w", s.collection, err)
	}
	return nil
}

// unique keeps, of the tombstones with one id, that with the highest version.
func unique(points []*chunk.Point) []*chunk.Point {
	at := make(map[chunk.ID]int, len(points))
	out := points[:0:0]
	for _, p := range points {
		if i, ok := at[p.ID]; !ok {
			at[p.ID] = len(out)
			out = append(out, p)
		} else if p.Version > out[i].Version {
			out[i] = p
		}
	}
	return out
}

// chunksBefore returns tombstones for the living chunks of a document with
// versions below the delete's.
func (s *Sink) chunksBefore(ctx context.Context, d *chunk.Point) ([]*chunk.Point, error) {
	var out []*chunk.Point
	limit := float64(d.Version)
	err := s.scroll(ctx, living(d, qdrant.NewRange(pathVersion, &qdrant.Range{Lt: &limit})), ownOnly(), func(r Record) error {
		out = append(out, tombstoneOf(r, d, d.Version-1))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the chunks of a deleted document: %w", err)
	}
	return out, nil
}

// living selects the chunks of d's document that are no tombstones.
func living(d *chunk.Point, more ...*qdrant.Condition) *qdrant.Filter {
	return &qdrant.Filter{
		Must: append(more, qdrant.NewMatch(keySource, d.Source), qdrant.NewMatch(keyDocument, d.DocumentID)),
		MustNot: []*qdrant.Condition{
			qdrant.NewMatchBool(pathTombstone, true),
		},
	}
}

// tombstoneOf ends a stored chunk at the given version. A delete of the whole
// document at v leaves v-1, so that chunks written at v itself live.
func tombstoneOf(r Record, by *chunk.Point, v chunk.Version) *chunk.Point {
	return &chunk.Point{
		ID: r.ID, Op: chunk.Delete, Source: r.Source, DocumentID: r.DocumentID, ChunkID: r.ChunkID,
		Version: v, Origin: by.Origin, EventTime: by.EventTime,
	}
}

// writtenTooLate is the writer's half: tombstones for those of the upserts
// whose document was deleted at a higher version.
func (s *Sink) writtenTooLate(ctx context.Context, written []*chunk.Point) ([]*chunk.Point, error) {
	if s.unchecked {
		return nil, nil
	}
	tombs := make(map[document]chunk.ID)
	var ids []chunk.ID
	for _, p := range written {
		doc := document{p.Source, p.DocumentID}
		if _, ok := tombs[doc]; !ok && p.Op == chunk.Upsert {
			id := chunk.NewDocumentID(p.Source, p.DocumentID)
			tombs[doc] = id
			ids = append(ids, id)
		}
	}
	deleted, err := s.Read(ctx, ids, false)
	if err != nil {
		return nil, fmt.Errorf("look for deleted documents: %w", err)
	}
	if len(deleted) == 0 {
		return nil, nil
	}
	var out []*chunk.Point
	for _, p := range written {
		d, ok := deleted[tombs[document{p.Source, p.DocumentID}]]
		if p.Op != chunk.Upsert || !ok || d.Version <= p.Version {
			continue
		}
		t := *p
		t.Op, t.Version, t.Origin, t.EventTime = chunk.Delete, d.Version-1, d.Origin, d.EventTime
		out = append(out, &t)
	}
	return out, nil
}

// deletePreceding executes the deletes that have no version: each removes the
// living state that precedes it, and takes over that state's version. A higher
// version that arrives between the read and the write is later, and the fence
// lets it stay.
func (s *Sink) deletePreceding(ctx context.Context, deletes []*chunk.Point) error {
	if len(deletes) == 0 {
		return nil
	}
	var ids []chunk.ID
	byID := make(map[chunk.ID][]*chunk.Point)
	var doomed, documents []*chunk.Point
	for _, d := range deletes {
		if d.Op == chunk.Delete {
			ids = append(ids, d.ID)
			byID[d.ID] = append(byID[d.ID], d)
			continue
		}
		documents = append(documents, d)
		err := s.scroll(ctx, living(d), ownOnly(), func(r Record) error {
			if precedes(r.origin(), r, d) {
				doomed = append(doomed, tombstoneOf(r, d, r.Version))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("find the chunks of a deleted document: %w", err)
		}
	}
	stored, err := s.Read(ctx, ids, false)
	if err != nil {
		return fmt.Errorf("look for %d chunks to delete: %w", len(ids), err)
	}
	var tombstones []*qdrant.PointId
	for id, st := range stored {
		if st.Tombstone {
			tombstones = append(tombstones, pointID(id))
		}
		for _, d := range byID[id] {
			if r := (Record{Version: st.Version, EventTime: st.EventTime}); !st.Tombstone && precedes(st.Origin, r, d) {
				t := *d
				t.Version = st.Version
				doomed = append(doomed, &t)
				break
			}
		}
	}
	if err := s.write(ctx, same, unique(doomed)); err != nil {
		return err
	}
	return s.finishTorn(ctx, documents, tombstones)
}

// precedes reports whether a stored state came before a versionless delete: by
// offset where both are of one partition, by time elsewhere.
func precedes(origin chunk.Origin, r Record, d *chunk.Point) bool {
	if !r.Version.Valid() {
		return false // not ours; there is no version to take over
	}
	if origin.SamePartition(d.Origin) {
		return origin.Offset < d.Origin.Offset
	}
	return !r.EventTime.After(d.EventTime)
}
