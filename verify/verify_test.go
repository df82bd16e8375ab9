package verify

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

const chunks = 60

// fill indexes chunks c00 … c59 of document d, of which the last ten are
// deleted, and the ten before them edited.
func (w *world) fill() {
	w.t.Helper()
	for i := range chunks {
		w.change(fmt.Sprintf("c%02d", i), fmt.Sprintf("text number %d", i))
	}
	for i := chunks - 20; i < chunks-10; i++ {
		w.change(fmt.Sprintf("c%02d", i), fmt.Sprintf("the edited text number %d", i))
	}
	for i := chunks - 10; i < chunks; i++ {
		w.change(fmt.Sprintf("c%02d", i), "")
	}
	w.drain()
}

func named(r Report) string {
	var list []string
	for _, d := range r.Named {
		list = append(list, string(d.Kind)+" "+d.ChunkID)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// Each kind is made by hand, found, named and mended, and nothing else is
// touched. The control: without the damage there is no difference.
func TestEachKindIsFoundAndRepaired(t *testing.T) {
	inEachWorld(t, func(t *testing.T, w *world) {
		w.fill()
		source := w.topic(time.Minute)
		if r := w.verify(source); r.Total() != 0 || r.Cells != 0 || r.Living != chunks-10 || r.Sampled != chunks-10 || r.LeastCosine < .999 {
			t.Fatalf("before the damage: %+v", r)
		}
		before := w.points()
		far := int64(chunk.MaxVersion)
		w.damage(
			remove("c00"), // missing
			blind("c01"),  // missing: no search finds it
			set("c02", true, map[string]any{"tomb": true, "ver": far}),                                  // missing, under a tombstone that no version passes
			set("c03", true, map[string]any{"ver": int64(1), "hash": chunk.HashText("older").String()}), // stale
			set("c04", true, map[string]any{"ver": far}),                                                // stale: no edit would pass it
			set("c05", false, map[string]any{"text": "edited by hand"}),                                 // stale, at the right version and hash
			set("c06", false, map[string]any{"document_id": "elsewhere"}),                               // stale: its names are another's
			set("c07", true, map[string]any{"model_version": "other@0"}),                                // wrong model
			w.vector("c08", "something else altogether"),                                                // misassigned
			w.vector("c50", "text number 50"),                                                           // deleted, the vector is there
			set("c51", false, map[string]any{"text": "secret"}),                                         // deleted, the text is there
			set("c52", true, map[string]any{"tomb": false}), w.vector("c52", "text number 52"),          // deleted, lives at its delete's version
			set("c53", true, map[string]any{"tomb": false, "ver": int64(54)}), w.vector("c53", "text number 53"), // deleted, lives at the version before
			orphan("zz", map[string]any{"ver": int64(3), "tomb": false}), orphan("yy", nil), w.vector("zz", "nobody"), w.vector("yy", "no one"), // orphans, one of somebody else's
		)
		want := "deleted c50, deleted c51, deleted c52, deleted c53, misassigned c08, missing c00, missing c01, missing c02, " +
			"orphan yy, orphan zz, stale c03, stale c04, stale c05, stale c06, wrong_model c07"
		r := w.verify(source)
		if got := named(r); got != want {
			t.Fatalf("found\n%s\nwant\n%s", got, want)
		}
		for kind, n := range map[Kind]int{Missing: 3, Stale: 4, Orphan: 2, WrongModel: 1, Deleted: 4, Misassigned: 1} {
			if r.Differences[kind] != n {
				t.Errorf("%d %s, want %d", r.Differences[kind], kind, n)
			}
		}
		damaged := map[string]bool{}
		for _, d := range r.Named {
			damaged[d.Point] = true
		}
		w.repair(source, r)
		if r := w.verify(source); r.Total() != 0 {
			t.Fatalf("after the repair: %s", named(r))
		}
		after := w.points()
		for point, b := range before {
			if !damaged[point] && !bytes.Equal(b, after[point]) {
				t.Errorf("point %s was touched", point)
			}
		}
		if len(after) != len(before)+2 { // the orphans' tombstones
			t.Errorf("%d points, there were %d", len(after), len(before))
		}
		// Edits go on as if nothing had been, also where the version was raised.
		for i := range 9 {
			w.change(fmt.Sprintf("c%02d", i), "written after the repair")
		}
		w.change("zz", "published after all")
		w.drain()
		if r := w.verify(w.topic(time.Minute)); r.Total() != 0 || r.Living != chunks-10+1 {
			t.Errorf("after further edits: %s, %d live", named(r), r.Living)
		}
	})
}

func orphan(name string, own map[string]any) *qdrant.PointsUpdateOperation {
	payload := map[string]any{"source": "s", "document_id": "d", "chunk_id": name, "text": "nobody published this"}
	if own != nil {
		payload["_ct"] = own
	}
	return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_Upsert{
		Upsert: &qdrant.PointsUpdateOperation_PointStructList{Points: []*qdrant.PointStruct{{
			Id: id(name), Payload: qdrant.NewValueMap(payload), Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{}),
		}}},
	}}
}

// A live write that comes between look and repair wins.
func TestRepairYieldsToLiveWrites(t *testing.T) {
	inEachWorld(t, func(t *testing.T, w *world) {
		w.fill()
		w.damage(remove("c00"), set("c01", true, map[string]any{"model_version": "other@0"}), w.vector("c02", "something else"),
			orphan("zz", map[string]any{"ver": int64(3), "tomb": false}), w.vector("zz", "nobody"))
		source := w.topic(time.Minute)
		r := w.verify(source)
		if got, want := named(r), "misassigned c02, missing c00, orphan zz, wrong_model c01"; got != want {
			t.Fatalf("found %s, want %s", got, want)
		}
		w.change("c00", "live")
		w.change("c01", "")
		w.publish(0, []byte(`{"source":"s","document_id":"d","chunk_id":"c02"}`), nil) // takes over the version that was seen
		w.change("zz", "live as well")
		w.drain()
		before := w.points()
		w.repair(source, r)
		if after := w.points(); !maps.EqualFunc(before, after, bytes.Equal) {
			t.Error("the repair has overwritten live writes")
		}
		if r := w.verify(w.topic(time.Minute)); r.Total() != 0 {
			t.Errorf("in the end: %s", named(r))
		}
	})
}

// What no worker has committed is pending, not missing; the control does not
// know of the workers.
func TestWhatIsPendingIsNoDifference(t *testing.T) {
	inEachWorld(t, func(t *testing.T, w *world) {
		w.fill()
		w.change("c00", "not yet indexed")
		w.change("c01", "")
		w.change("new", "not yet indexed")
		r := w.verify(w.topic(0))
		if r.Total() != 0 || r.Pending != 3 {
			t.Errorf("%s; %d pending", named(r), r.Pending)
		}
		blind := w.topic(0)
		blind.cfg.Committed = nil
		if got, want := named(w.verify(blind)), "deleted c01, missing new, stale c00"; got != want {
			t.Errorf("without the workers' word: %s, want %s", got, want)
		}
		w.drain()
		if r := w.verify(w.topic(0)); r.Total() != 0 || r.Pending != 0 {
			t.Errorf("once they are indexed: %s; %d pending", named(r), r.Pending)
		}
	})
}

// A chunk whose last edit was refused stands at the one before it, and that is
// what a repair restores.
func TestRepairRestoresWhatWasNotRefused(t *testing.T) {
	inEachWorld(t, func(t *testing.T, w *world) {
		w.fill()
		w.change("c00", " \x1c ") // white space to the encoder, a text to the decoder
		w.drain()
		if r := w.verify(w.topic(time.Minute)); r.Total() != 0 || r.Refused != 1 || r.Cells != 0 {
			t.Fatalf("%s\n%+v", named(r), r)
		}
		w.damage(remove("c00"))
		source := w.topic(time.Minute)
		r := w.verify(source)
		if named(r) != "missing c00" || r.Named[0].Want != 1 {
			t.Fatalf("%+v", r.Named)
		}
		w.repair(source, r)
		if r := w.verify(source); r.Total() != 0 || r.Living != chunks-10 {
			t.Errorf("%s\n%+v", named(r), r)
		}
	})
}
