package sink

import (
	"testing"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// tear leaves a tombstone as a delete does that ended between its two halves:
// written over a segment that still has the vector, which nobody dropped. So it
// is when the worker dies and Qdrant gives up its request half way.
func tear(t *testing.T, s *Sink, name, text string) {
	t.Helper()
	answer, err := s.points.UpdateVectors(t.Context(), &qdrant.UpdatePointVectors{
		CollectionName: s.collection, Wait: qdrant.PtrOf(true),
		Points: []*qdrant.PointVectors{{
			Id:      pointID(chunk.NewID("s", "d", name)),
			Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{vectorName: qdrant.NewVectorDense(unit(chunk.HashText(text)))}),
		}},
	})
	if err != nil || answer.GetResult().GetStatus() != qdrant.UpdateStatus_Completed {
		t.Fatal(answer, err)
	}
	if !nearest(t, s, text)[chunk.NewID("s", "d", name)] {
		t.Fatal("the torn delete left nothing to be found: this test proves nothing")
	}
}

// nearest are the points that any reader of the collection finds, also one
// that knows nothing of tombstones.
func nearest(t *testing.T, s *Sink, text string) map[chunk.ID]bool {
	t.Helper()
	answer, err := s.points.Query(t.Context(), &qdrant.QueryPoints{
		CollectionName: s.collection, Query: qdrant.NewQueryDense(unit(chunk.HashText(text))), Using: qdrant.PtrOf(vectorName),
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[chunk.ID]bool{}
	for _, p := range answer.GetResult() {
		out[decode(&s.cfg, p.GetId(), p.GetPayload()).ID] = true
	}
	return out
}

// A worker dies in the middle of a delete, and the next one repeats it. That
// finds a tombstone, which is no proof that the vector is gone.
func TestARepeatedDeleteFinishesATornOne(t *testing.T) {
	created, kept := upsert("a", "gone", 7), upsert("b", "kept", 9)
	bare, wholeBare := remove("a", 0), removeDocument(0)
	other := kept // written after the document was deleted
	other.Version, other.Origin.Offset = 10, clock.Add(1)
	for name, deletes := range map[string]struct{ first, again chunk.Point }{
		"of a chunk, with a version":        {remove("a", 8), remove("a", 8)},
		"of a chunk, without a version":     {bare, bare},
		"of a document, with a version":     {removeDocument(9), removeDocument(9)},
		"of a document, without a version":  {wholeBare, wholeBare},
		"of a document, by the late writer": {removeDocument(9), created},
	} {
		t.Run(name, func(t *testing.T) {
			contract(t, func(t *testing.T, s *Sink) {
				apply(t, s, created, kept)
				apply(t, s, deletes.first)
				apply(t, s, other)
				before := state(t, s, "a")
				tear(t, s, "a", "gone")
				apply(t, s, deletes.again)
				if nearest(t, s, "gone")[created.ID] {
					t.Error("the deleted chunk is still found by its vector")
				}
				want(t, s, "a", before)
				if !nearest(t, s, "kept")[kept.ID] {
					t.Error("a living chunk of the document has lost its vector")
				}
			})
		})
	}
}
