package sink

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

func TestFence(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "two", 2), upsert("b", "x", 1))
		want(t, s, "a", "two@2")
		apply(t, s, upsert("a", "one", 1), upsert("b", "y", 2), upsert("c", "new", 9))
		want(t, s, "a", "two@2") // lower: kept out
		want(t, s, "b", "y@2")   // higher: replaced
		want(t, s, "c", "new@9") // absent: inserted
		apply(t, s, upsert("a", "other two", 2))
		want(t, s, "a", "two@2") // equal: the first stays
		apply(t, s, upsert("a", "top", chunk.MaxVersion))
		apply(t, s, upsert("a", "below", chunk.MaxVersion-1))
		want(t, s, "a", fmt.Sprintf("top@%d", chunk.MaxVersion))
	})
}

// A point that somebody else wrote has no version; ours replaces it.
func TestFenceReplacesPointsWithoutVersion(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		p := upsert("a", "ours", 1)
		_, err := s.points.Upsert(t.Context(), &qdrant.UpsertPoints{
			CollectionName: s.collection, Wait: qdrant.PtrOf(true),
			Points: []*qdrant.PointStruct{{Id: pointID(p.ID), Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{vectorName: qdrant.NewVectorDense(unit(p.Hash))})}},
		})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, p)
		want(t, s, "a", "ours@1")
	})
}

func TestStoredPointIsWhole(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		p := upsert("a", "Zażółć 東京 🚀", 7)
		p.Metadata = map[string]any{"s": "x", "i": int64(1 << 60), "f": 0.5, "b": true, "n": nil, "l": []any{int64(1), "two"}, "o": map[string]any{"k": "v"}}
		p.Embedding.Vector = []float32{0.5, 0.5, 0.5, 0.5}
		apply(t, s, p)
		read, err := s.Read(t.Context(), []chunk.ID{p.ID, chunk.NewID("no", "such", "chunk")}, true)
		if err != nil {
			t.Fatal(err)
		}
		wanted := map[chunk.ID]chunk.Stored{p.ID: {
			Version: 7, Hash: p.Hash, Origin: p.Origin, EventTime: p.EventTime, Text: p.Text, Embedding: p.Embedding,
		}}
		if !reflect.DeepEqual(read, wanted) {
			t.Errorf("read %+v\nwant %+v", read, wanted)
		}
		var records []Record
		if err := s.Scroll(t.Context(), func(r Record) error { records = append(records, r); return nil }); err != nil {
			t.Fatal(err)
		}
		r := records[0]
		if len(records) != 1 || !reflect.DeepEqual(r.Metadata, p.Metadata) || r.Position != 3 || r.ModelVersion != s.model.Version ||
			r.Tokens != 5 || !r.Truncated || r.IndexedAt.IsZero() || r.ID != p.ID || r.origin() != p.Origin {
			t.Errorf("scrolled %+v", records)
		}
		slim, err := s.Read(t.Context(), []chunk.ID{p.ID}, false)
		if err != nil || slim[p.ID].Text != "" || slim[p.ID].Embedding.Vector != nil || slim[p.ID].Version != 7 {
			t.Errorf("without content: %+v, %v", slim, err)
		}
	})
}

// race lets writers write random versions of a few chunks at once and returns
// how many chunks do not hold their highest.
func race(t *testing.T, s *Sink) int {
	const chunks, writers, rounds = 40, 4, 25
	highest := make([]chunk.Version, chunks)
	for i := range highest {
		highest[i] = writers * rounds
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			versions := rng.Perm(rounds)
			for _, v := range versions {
				var points []chunk.Point
				for i := range chunks {
					version := chunk.Version(v*writers + w + 1)
					points = append(points, upsert(fmt.Sprint(i), fmt.Sprintf("text %d", version), version))
				}
				if err := s.Apply(t.Context(), points); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	stale := 0
	for i := range chunks {
		if state(t, s, fmt.Sprint(i)) != fmt.Sprintf("text %d@%d", highest[i], highest[i]) {
			stale++
		}
	}
	return stale
}

func TestRacingWritersEndInTheHighestVersion(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		if stale := race(t, s); stale != 0 {
			t.Errorf("%d chunks are stale", stale)
		}
	})
}

// Control: without the fence the same race leaves stale chunks.
func TestControlRaceWithoutFence(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		s.unfenced = true
		if race(t, s) == 0 {
			t.Error("no chunk is stale without the fence: the race proves nothing")
		}
	})
}

func TestDeletes(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "x", 1), upsert("b", "y", 1))
		apply(t, s, remove("a", 2), remove("never", 5))
		want(t, s, "a", "†2")
		want(t, s, "never", "†5")
		for name, want := range map[string]string{"a": "", "b": "y", "c": ""} { // "a" is deleted, "c" never was
			hit, ok, err := s.SearchChunk(t.Context(), unit(chunk.HashText("x")), chunk.NewID("s", "d", name))
			if err != nil || ok != (want != "") || hit.Text != want {
				t.Errorf("a search for %s only: %q, %v, %v; want %q", name, hit.Text, ok, err, want)
			}
		}
		if got := found(t, s, "x"); !maps.Equal(got, map[string]string{"b": "y"}) {
			t.Errorf("a search finds %v", got)
		}
		if n, err := s.Live(t.Context()); err != nil || n != 1 {
			t.Errorf("%d live, %v", n, err)
		}
		// Late, older upserts do not bring it back; newer ones do.
		apply(t, s, upsert("a", "late", 1), upsert("never", "late", 4))
		want(t, s, "a", "†2")
		want(t, s, "never", "†5")
		apply(t, s, upsert("a", "again", 3))
		want(t, s, "a", "again@3")
		// A late delete does not remove the newer state, nor its vector.
		apply(t, s, remove("a", 2))
		want(t, s, "a", "again@3")
		if got := found(t, s, "again"); got["a"] != "again" {
			t.Errorf("a search finds %v", got)
		}
	})
}

// Control: after a hard delete the late upsert resurrects the chunk.
func TestControlHardDeleteResurrects(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "x", 2))
		_, err := s.points.Delete(t.Context(), &qdrant.DeletePoints{
			CollectionName: s.collection, Wait: qdrant.PtrOf(true), Points: qdrant.NewPointsSelector(pointID(chunk.NewID("s", "d", "a"))),
		})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, upsert("a", "late", 1))
		if state(t, s, "a") == "" {
			t.Error("the late upsert did nothing: tombstones would not be needed")
		}
	})
}

func TestDeletingADocument(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		other := upsert("a", "other document", 1)
		other.DocumentID, other.ID = "d2", chunk.NewID("s", "d2", "a")
		apply(t, s, upsert("a", "x", 1), upsert("b", "y", 9), upsert("c", "z", 10), other)
		apply(t, s, removeDocument(10))
		want(t, s, "a", "†9")
		want(t, s, "b", "†9")
		want(t, s, "c", "z@10") // written at the delete's own version
		if n, _ := s.Live(t.Context()); n != 2 {
			t.Errorf("%d live, want c and the other document's", n)
		}
		// Late upserts of chunks that the delete could not see.
		apply(t, s, upsert("late", "x", 9), upsert("new", "y", 10))
		want(t, s, "late", "†9")
		want(t, s, "new", "y@10")
		if got := found(t, s, "x"); got["late"] != "" {
			t.Errorf("the late chunk is found: %v", got)
		}
		// Chunks written again under the same version live.
		apply(t, s, upsert("a", "again", 10))
		want(t, s, "a", "again@10")
		// An older delete of the document changes nothing, a newer one does.
		apply(t, s, removeDocument(3))
		want(t, s, "a", "again@10")
		apply(t, s, removeDocument(11), upsert("e", "same batch", 12))
		want(t, s, "a", "†10")
		want(t, s, "e", "same batch@12")
	})
}

func TestDeletingALargeDocument(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		const n = 2*pageSize + 100
		for i := 0; i < n; i += 500 {
			var points []chunk.Point
			for j := i; j < min(n, i+500); j++ {
				points = append(points, upsert(fmt.Sprint("c", j), "x", 1))
			}
			apply(t, s, points...)
		}
		apply(t, s, removeDocument(2))
		if live, err := s.Live(t.Context()); err != nil || live != 0 {
			t.Errorf("%d chunks live on, %v", live, err)
		}
	})
}

// Control: without the writer's look for the document's tombstone a late
// upsert survives the delete.
func TestControlDocumentDeleteWithoutTheWritersHalf(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		s.unchecked = true
		apply(t, s, removeDocument(10))
		apply(t, s, upsert("late", "x", 9))
		if state(t, s, "late") != "x@9" {
			t.Error("the late upsert did not survive: the handshake proves nothing")
		}
	})
}

// Whatever way deleter and late writer interleave, the old chunk is gone.
func TestDocumentDeleteRacesLateWriters(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		for round := range 20 {
			v := chunk.Version(10 * (round + 1))
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := s.Apply(context.WithoutCancel(t.Context()), []chunk.Point{removeDocument(v)}); err != nil {
					t.Error(err)
				}
			})
			for w := range 3 {
				wg.Go(func() {
					if err := s.Apply(context.WithoutCancel(t.Context()), []chunk.Point{upsert(fmt.Sprint(w), "old", v-1)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for w := range 3 {
				want(t, s, fmt.Sprint(w), fmt.Sprintf("†%d", v-1))
			}
		}
	})
}

func TestVersionlessDeletes(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "x", 7))
		before := remove("a", 0) // its offset is higher than a's
		apply(t, s, remove("absent", 0))
		want(t, s, "absent", "")
		apply(t, s, before)
		want(t, s, "a", "†7") // it takes over the version
		apply(t, s, upsert("a", "redelivered", 7))
		want(t, s, "a", "†7")
		apply(t, s, upsert("a", "next", 8)) // the next version, however low, passes
		want(t, s, "a", "next@8")
		apply(t, s, before) // replayed: what it meant is past
		want(t, s, "a", "next@8")

		// From another partition time decides.
		elsewhere := remove("a", 0)
		elsewhere.Origin.Partition = 9
		early := elsewhere
		early.EventTime = early.EventTime.AddDate(-1, 0, 0)
		apply(t, s, early)
		want(t, s, "a", "next@8")
		apply(t, s, elsewhere)
		want(t, s, "a", "†8")

		// A whole document.
		apply(t, s, upsert("b", "x", 5), upsert("c", "y", 6))
		apply(t, s, removeDocument(0))
		want(t, s, "b", "†5")
		want(t, s, "c", "†6")
		apply(t, s, upsert("b", "x", 6))
		want(t, s, "b", "x@6")
	})
}

// An upsert that follows a versionless delete in one batch lives.
func TestVersionlessDeleteBeforeAnUpsertOfTheSameBatch(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "x", 7))
		del, again := remove("a", 0), upsert("a", "again", 8)
		apply(t, s, again, del)
		want(t, s, "a", "again@8")
	})
}

func TestRequestsAreSplit(t *testing.T) {
	for name, addr := range servers(t) {
		t.Run(name, func(t *testing.T) {
			for what, change := range map[string]func(*Config){
				"points": func(c *Config) { c.RequestPoints = 7 },
				"bytes":  func(c *Config) { c.RequestBytes = 2000 },
			} {
				cfg := testConfig(addr)
				change(&cfg)
				s := open(t, cfg, testModel("m"))
				var points []chunk.Point
				for i := range 50 {
					points = append(points, upsert(fmt.Sprint(i), strings.Repeat("x", 300), 1))
				}
				apply(t, s, points...)
				if n, err := s.Live(t.Context()); err != nil || n != 50 {
					t.Errorf("by %s: %d points, %v", what, n, err)
				}
				if s.attempts.Load() < 12 {
					t.Errorf("by %s: all in %d requests", what, s.attempts.Load())
				}
			}
		})
	}
}

func TestBadPointsAreRefusedBeforeTheyAreSent(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		nan := upsert("a", "x", 1)
		nan.Embedding.Vector = []float32{1, 2, float32(nanValue()), 4}
		zero := upsert("a", "x", 1)
		zero.Embedding.Vector = make([]float32, testDim)
		short := upsert("a", "x", 1)
		short.Embedding.Vector = short.Embedding.Vector[:2]
		for name, tt := range map[string]struct {
			point  chunk.Point
			reason chunk.Reason
		}{
			"NaN": {nan, chunk.ReasonBadVector}, "zero": {zero, chunk.ReasonBadVector}, "dimension": {short, chunk.ReasonBadVector},
			"version": {upsert("a", "x", chunk.MaxVersion+1), chunk.ReasonBadVersion},
		} {
			err := s.Apply(t.Context(), []chunk.Point{upsert("good", "x", 1), tt.point})
			if reason, ok := chunk.ReasonOf(err); !ok || reason != tt.reason {
				t.Errorf("%s: %v, want %s", name, err, tt.reason)
			}
		}
		if err := s.Apply(t.Context(), []chunk.Point{upsert("a", "x", 1), upsert("a", "y", 2)}); err == nil {
			t.Error("two versions of one chunk in one write were taken")
		}
		want(t, s, "a", "")
	})
}
