package sink

import (
	"maps"
	"slices"
	"testing"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

func seenNow(t *testing.T, s *Sink, names ...string) map[chunk.ID]chunk.Stored {
	t.Helper()
	var ids []chunk.ID
	for _, name := range names {
		ids = append(ids, chunk.NewID("s", "d", name))
	}
	seen, err := s.Read(t.Context(), ids, false)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func replace(t *testing.T, s *Sink, seen map[chunk.ID]chunk.Stored, points ...chunk.Point) {
	t.Helper()
	if err := s.Replace(t.Context(), points, seen); err != nil {
		t.Fatal(err)
	}
}

// What was seen is replaced, at an equal and at a lower version too, which the
// fence of Apply holds back.
func TestReplaceMendsWhatTheFenceHolds(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "wrong", 5), upsert("b", "wrong", 90), upsert("c", "orphan", 7), remove("d", 8))
		seen := seenNow(t, s, "a", "b", "c", "d", "e")
		mended := []chunk.Point{upsert("a", "right", 5), upsert("b", "right", 9), remove("c", 7), upsert("d", "back", 4), upsert("e", "absent", 3)}
		apply(t, s, mended...)
		want(t, s, "a", "wrong@5") // the control
		want(t, s, "c", "orphan@7")
		replace(t, s, seen, mended...)
		for name, expected := range map[string]string{"a": "right@5", "b": "right@9", "c": "†7", "d": "back@4", "e": "absent@3"} {
			want(t, s, name, expected)
		}
		if found := nearest(t, s, "orphan"); found[chunk.NewID("s", "d", "c")] {
			t.Error("the orphan is still found")
		}
	})
}

// Whatever came between stays: a newer version, and the delete without a
// version, which takes over the one that was seen.
func TestReplaceYieldsToWhatCameBetween(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "old", 5), upsert("b", "old", 5), upsert("c", "old", 5), upsert("d", "old", 5))
		seen := seenNow(t, s, "a", "b", "c", "d")
		apply(t, s, upsert("a", "live", 6), remove("b", 0), remove("c", 8))
		replace(t, s, seen, upsert("a", "repair", 5), upsert("b", "repair", 5), upsert("c", "repair", 5), upsert("d", "repair", 5))
		for name, expected := range map[string]string{"a": "live@6", "b": "†5", "c": "†8", "d": "repair@5"} {
			want(t, s, name, expected)
		}
		// The control: a write that replaces equal versions brings the deleted
		// chunk back.
		again := upsert("b", "repair", 5)
		if err := s.write(t.Context(), same, []*chunk.Point{&again}); err != nil {
			t.Fatal(err)
		}
		want(t, s, "b", "repair@5")
		// A document that was deleted meanwhile stays deleted.
		seen = seenNow(t, s, "d")
		apply(t, s, removeDocument(6))
		replace(t, s, seen, upsert("d", "repair", 5))
		want(t, s, "d", "†5")
	})
}

func TestSurveyFindsWhatNoVersionTells(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("well", "x", 1), upsert("blind", "y", 1), remove("gone", 2), remove("torn", 2), remove("texted", 2), removeDocument(1))
		tear(t, s, "torn", "z")
		id := func(name string) *qdrant.PointId { return pointID(chunk.NewID("s", "d", name)) }
		if _, err := s.points.SetPayload(t.Context(), &qdrant.SetPayloadPoints{
			CollectionName: s.collection, Wait: qdrant.PtrOf(true), Payload: qdrant.NewValueMap(map[string]any{s.cfg.TextKey: "secret"}),
			PointsSelector: qdrant.NewPointsSelector(id("texted")),
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.points.DeleteVectors(t.Context(), &qdrant.DeletePointVectors{
			CollectionName: s.collection, Wait: qdrant.PtrOf(true), PointsSelector: qdrant.NewPointsSelector(id("blind")),
			Vectors: &qdrant.VectorsSelector{Names: []string{vectorName}},
		}); err != nil {
			t.Fatal(err)
		}
		names := func(visit func(func(Record) error) error) string {
			found := map[string]bool{}
			if err := visit(func(r Record) error {
				if r.Text != "" || r.Version == 0 {
					t.Errorf("%+v", r)
				}
				found[r.ChunkID] = true
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			list := slices.Sorted(maps.Keys(found))
			return fmtList(list)
		}
		for got, expected := range map[string]string{
			names(func(v func(Record) error) error { return s.Outline(t.Context(), v) }): "blind gone texted torn well ",
			names(func(v func(Record) error) error { return s.Remains(t.Context(), v) }): "texted torn ",
			names(func(v func(Record) error) error { return s.Blind(t.Context(), v) }):   "blind ",
		} {
			if got != expected {
				t.Errorf("%q, want %q", got, expected)
			}
		}
		// Replacing a tombstone by itself takes its remains away.
		seen := seenNow(t, s, "torn", "texted")
		replace(t, s, seen, remove("torn", 2), remove("texted", 2))
		if got := names(func(v func(Record) error) error { return s.Remains(t.Context(), v) }); got != "" {
			t.Errorf("%q are left", got)
		}
		if r, err := s.Look(t.Context(), []chunk.ID{chunk.NewID("s", "d", "well"), chunk.NewID("s", "d", "none")}); err != nil || len(r) != 1 || r[chunk.NewID("s", "d", "well")].Text != "x" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func fmtList(names []string) (out string) {
	for _, n := range names {
		out += n + " "
	}
	return out
}
