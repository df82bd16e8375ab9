package sink

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

func openStored(t *testing.T, cfg Config, collection string) *Stored {
	t.Helper()
	s, err := OpenStored(t.Context(), cfg, collection, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// What a collection tells of itself makes it anew in another one, of another
// model, deletes included.
func TestStoredEventsMakeTheSameIndex(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		points := []chunk.Point{upsert("a", "one", 4), upsert("b", "two", 5), remove("c", 6), upsert("d", "gone with its document", 2)}
		apply(t, s, points...)
		apply(t, s, removeDocument(4))
		stored := openStored(t, s.cfg, s.collection)
		if n, err := stored.Points(t.Context()); err != nil || n != 5 || stored.Model() != s.model {
			t.Fatalf("%d points of %+v, %v", n, stored.Model(), err)
		}
		said := map[chunk.ID]chunk.Event{}
		var order []chunk.ID
		err := stored.Events(t.Context(), chunk.ID{}, func(id chunk.ID, e chunk.Event, err error) error {
			said[id], order = e, append(order, id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		p := points[0]
		if want := (chunk.Event{
			Op: chunk.Upsert, ID: p.ID, Source: "s", DocumentID: "d", ChunkID: "a", Position: 3, Text: "one",
			Metadata: p.Metadata, Version: 4, Time: p.EventTime, Origin: p.Origin,
		}); !reflect.DeepEqual(said[p.ID], want) {
			t.Errorf("%+v\nwant %+v", said[p.ID], want)
		}
		for name, want := range map[string]string{"a": "upsert@4", "b": "upsert@5", "c": "delete@6", "d": "delete@3"} {
			e := said[chunk.NewID("s", "d", name)]
			if got := fmt.Sprintf("%s@%d", e.Op, e.Version); got != want {
				t.Errorf("%s is said to be %s, want %s", name, got, want)
			}
		}
		if e := said[chunk.NewDocumentID("s", "d")]; e.Op != chunk.DeleteDocument || e.Version != 4 || e.ChunkID != "" {
			t.Errorf("the document is said to be %+v", e)
		}
		// From each point on, what follows it.
		for i, after := range order {
			var rest []chunk.ID
			err := stored.Events(t.Context(), after, func(id chunk.ID, _ chunk.Event, _ error) error {
				rest = append(rest, id)
				return nil
			})
			if err != nil || fmt.Sprint(rest) != fmt.Sprint(order[i+1:]) {
				t.Errorf("after %s: %v, %v; want %v", after, rest, err, order[i+1:])
			}
		}
		stop := errors.New("stop")
		if err := stored.Events(t.Context(), chunk.ID{}, func(chunk.ID, chunk.Event, error) error { return stop }); err != stop { //nolint:errorlint // as it is
			t.Errorf("%v", err)
		}
	})
}

func TestStoredNamesPointsThatAreNotOurs(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "one", 4))
		foreign := chunk.NewID("somebody", "else", "wrote it")
		_, err := s.points.Upsert(t.Context(), &qdrant.UpsertPoints{
			CollectionName: s.collection, Wait: qdrant.PtrOf(true),
			Points: []*qdrant.PointStruct{{Id: pointID(foreign), Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{})}},
		})
		if err != nil {
			t.Fatal(err)
		}
		bad := map[chunk.ID]chunk.Reason{}
		see := func(id chunk.ID, _ chunk.Event, err error) error {
			if reason, ok := chunk.ReasonOf(err); ok {
				bad[id] = reason
			}
			return nil
		}
		if err := openStored(t, s.cfg, s.collection).Events(t.Context(), chunk.ID{}, see); err != nil || len(bad) != 1 || bad[foreign] == "" {
			t.Errorf("%v, %v", bad, err)
		}
		other := s.cfg
		other.TextKey = "page_content"
		if err := openStored(t, other, s.collection).Events(t.Context(), chunk.ID{}, see); err != nil || bad[chunk.NewID("s", "d", "a")] != chunk.ReasonEmptyText {
			t.Errorf("a text under another key: %v, %v", bad, err)
		}
		if _, err := OpenStored(t.Context(), s.cfg, "no-such-collection", quiet(), nil); err == nil || !strings.Contains(err.Error(), "no-such-collection") {
			t.Errorf("%v", err)
		}
	})
}

func TestNotesOfTheSink(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		if _, any, err := s.AnyVersion(t.Context()); any || err != nil {
			t.Errorf("an empty collection has a version: %v", err)
		}
		apply(t, s, upsert("a", "one", 4), upsert("b", "two", 9))
		if v, any, err := s.AnyVersion(t.Context()); v != 9 || !any || err != nil {
			t.Errorf("version %d, %v, %v", v, any, err)
		}
		if err := s.Note(t.Context(), map[string]any{"backfill/x": "here"}); err != nil {
			t.Fatal(err)
		}
		if notes, err := s.Notes(t.Context()); err != nil || notes["backfill/x"] != "here" {
			t.Errorf("%v, %v", notes, err)
		}
		if fed, err := s.FedBy(t.Context(), "workers"); fed || err != nil {
			t.Errorf("%v, %v", fed, err)
		}
		cfg := s.cfg
		cfg.Group = "workers"
		open(t, cfg, s.model)
		if fed, err := s.FedBy(t.Context(), "workers"); !fed || err != nil {
			t.Errorf("%v, %v", fed, err)
		}
		if err := s.Note(t.Context(), map[string]any{"digest": "x"}); err == nil {
			t.Error("the pin was changed")
		}
	})
}
