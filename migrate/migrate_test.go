package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"chunktide/cmd/worker"
	"chunktide/sink"
)

// corpus publishes chunks, some edited, some deleted in either way.
func (w *world) corpus(n int) {
	w.t.Helper()
	for i := range n {
		w.upsert(int32(i%2), fmt.Sprint("c", i), 10, fmt.Sprint("the text of chunk ", i))
	}
	for i := range n / 3 {
		w.upsert(int32(3*i%2), fmt.Sprint("c", 3*i), 20, fmt.Sprint("edited text of chunk ", 3*i))
	}
	for i := range n / 5 {
		w.publish(int32(5*i%2), fmt.Sprint("c", 5*i), 0, nil)
	}
}

func (w *world) want() map[string]string {
	out := map[string]string{}
	for name, text := range w.texts("") {
		out[name] = strings.Replace(text, "old", "new", 1)
	}
	return out
}

// A run is cut short at every single change that it makes to the index, and
// then goes on: the new collection is what it would have been, and promotion
// and rollback work.
func TestAMigrationGoesOnWhereverItWasCutShort(t *testing.T) {
	t.Parallel()
	for _, source := range []Source{FromTopic, FromCollection} {
		t.Run(string(source), func(t *testing.T) {
			t.Parallel()
			cuts := 0
			for at := 1; ; at++ {
				w := newWorld(t)
				w.corpus(20)
				w.old()
				happened := w.failAt(at)
				err := w.migration().Run(t.Context(), w.work(bow("new"), source))
				w.heal()
				if !happened.Load() {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				if err == nil {
					t.Fatalf("cut at change %d: no error", at)
				}
				cuts++
				// Live events meanwhile, a delete without a version among them.
				w.upsert(0, "c2", 30, "written in between")
				w.publish(1, "c7", 0, nil)
				w.old()
				if err := w.migration().Run(t.Context(), w.work(bow("new"), source)); err != nil {
					t.Fatalf("cut at change %d: it does not go on: %v", at, err)
				}
				found, err := w.migration().one(t.Context(), "", func(Found) bool { return true })
				if err != nil || found.Phase != Following {
					t.Fatalf("cut at change %d: the migration is %v, %v", at, found.Phase, err)
				}
				if got, want := w.texts(found.Collection.Name), w.want(); !maps.Equal(got, want) {
					t.Errorf("cut at change %d:\n got %v\nwant %v", at, got, want)
				}
			}
			if cuts < 5 {
				t.Errorf("only %d cuts: the faults do not reach it", cuts)
			}
		})
	}
}

// Between the reading of the old collection and the first live event the old
// index goes on. What happens there must reach the new one, deletes without a
// version above all.
func TestNothingFallsBetweenTheOldTextAndTheLiveEvents(t *testing.T) {
	t.Parallel()
	for name, careless := range map[string]bool{"captured before": false, "control: captured after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.corpus(20)
			w.old()
			work := w.work(bow("new"), FromCollection)
			read := work.Backfill
			work.Backfill = func(ctx context.Context, s State, to string) error {
				if err := read(ctx, s, to); err != nil {
					return err
				}
				w.publish(1, "c7", 0, nil)
				w.upsert(0, "c8", 40, "written after it was read")
				w.upsert(1, "fresh", 1, "came after it was read")
				w.old()
				if !careless {
					return nil
				}
				// Where the topic ends now is where the old collection is level too,
				// but it was read before.
				moves, err := w.migration().plan(ctx, s.Group, "latest")
				if err != nil {
					return err
				}
				group, err := w.migration().group(ctx, s.Group)
				if err != nil {
					return err
				}
				defer group.Close()
				_, err = group.Commit(ctx, moves)
				return err
			}
			if err := w.migration().Run(t.Context(), work); err != nil {
				t.Fatal(err)
			}
			all, err := w.migration().All(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			if _, alive := w.want()["c7"]; alive {
				t.Fatal("the delete did not arrive in the old collection")
			}
			if _, alive := w.texts(all[0].Collection.Name)["c7"]; alive != careless {
				t.Errorf("the deleted chunk lives: %v", alive)
			}
			if got, want := w.texts(all[0].Collection.Name), w.want(); maps.Equal(got, want) == careless {
				t.Errorf("equal: %v\n got %v\nwant %v", !careless, got, want)
			}
		})
	}
}

// checks without golden queries.
func (w *world) checks() Checks { return Checks{Verify: level(w)} }

func TestPromoteRollbackAbort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.corpus(12)
	w.old()
	m := w.migration()
	if _, err := m.Promote(t.Context(), "", w.checks()); !errors.Is(err, ErrNone) {
		t.Errorf("promote without a migration: %v", err)
	}
	found, err := m.Begin(t.Context(), w.work(bow("new"), FromCollection))
	if err != nil {
		t.Fatal(err)
	}
	// Too early.
	if p, err := m.Promote(t.Context(), "", w.checks()); !errors.Is(err, ErrGate) || p.Gates[0].OK {
		t.Errorf("promote an empty collection: %+v, %v", p, err)
	}
	if err := m.Run(t.Context(), w.work(bow("new"), FromCollection)); err != nil {
		t.Fatal(err)
	}
	// Behind.
	w.upsert(0, "late", 1, "not there yet")
	w.old()
	if p, err := m.Promote(t.Context(), "", w.checks()); !errors.Is(err, ErrGate) || p.Promoted {
		t.Errorf("promote one that is behind: %+v, %v", p, err)
	}
	// Level in offsets, but wrong.
	c := w.checks()
	c.MaxLag = 5
	if p, err := m.Promote(t.Context(), "", c); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "verify") {
		t.Errorf("promote one that differs: %+v, %v", p, err)
	}
	if served, err := m.admin.Get(t.Context(), ""); err != nil || served.Name != found.From {
		t.Fatalf("the alias moved to %s, %v", served.Name, err)
	}
	if err := m.Run(t.Context(), w.work(bow("new"), FromCollection)); err != nil {
		t.Fatal(err)
	}
	// Searches find something else.
	c = w.checks()
	c.MinOverlap = 0.9
	c.Compare = func(context.Context, sink.Collection, sink.Collection) (Comparison, error) {
		return Comparison{K: 10, Queries: 3, Overlap: 0.89}, nil
	}
	if p, err := m.Promote(t.Context(), "", c); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("promote one that finds other things: %+v, %v", p, err)
	}
	c.MaxDrop = 0.02
	c.Compare = func(context.Context, sink.Collection, sink.Collection) (Comparison, error) {
		return Comparison{K: 10, Queries: 3, Overlap: 0.95, Labelled: 3, Old: Quality{0.9, 0.8}, New: Quality{0.95, 0.77}}, nil
	}
	if p, err := m.Promote(t.Context(), "", c); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "nDCG") {
		t.Errorf("promote one that ranks worse: %+v, %v", p, err)
	}
	p, err := m.Promote(t.Context(), "", w.checks())
	if err != nil || !p.Promoted {
		t.Fatalf("%+v, %v", p, err)
	}
	if served, err := m.admin.Get(t.Context(), ""); err != nil || served.Name != found.Collection.Name {
		t.Fatalf("%s is served, %v", served.Name, err)
	}
	if _, err := m.Abort(t.Context(), found.Collection.Name); err == nil {
		t.Error("aborted what is served")
	}
	// Both are kept level: the old one's workers go on.
	w.upsert(1, "after", 1, "came after the promotion")
	if _, err := m.Rollback(t.Context(), 0); !errors.Is(err, ErrBehind) {
		t.Errorf("rolled back to one that is behind: %v", err)
	}
	w.old()
	r, err := m.Rollback(t.Context(), 0)
	if err != nil || r.To != found.From {
		t.Fatalf("%+v, %v", r, err)
	}
	if !strings.Contains(w.texts("")["after"], "old") {
		t.Error("the old collection lacks what came after the promotion")
	}
	if _, err := m.Rollback(t.Context(), 0); err == nil {
		t.Error("rolled back twice")
	}
	if _, err := m.Abort(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if all, err := m.All(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("left behind: %v, %v", all, err)
	}
	// Begun anew it reads everything again, though the group is known.
	if err := m.Run(t.Context(), w.work(bow("new"), FromTopic)); err != nil {
		t.Fatal(err)
	}
	if p, err = m.Promote(t.Context(), "", w.checks()); err != nil || len(w.texts("")) == 0 {
		t.Errorf("the second migration: %+v, %v", p, err)
	}
}

// A group that outlived its collection (index drop, not abort) would skip all
// that it has read.
func TestOffsetsFromBeforeAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.corpus(12)
	w.old()
	m := w.migration()
	for range 2 {
		if err := m.Run(t.Context(), w.work(bow("new"), FromTopic)); err != nil {
			t.Fatal(err)
		}
		all, err := m.All(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if got, want := w.texts(all[0].Collection.Name), w.want(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if err := m.admin.Drop(t.Context(), all[0].Collection.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeMigratedIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.migration()
	if _, err := m.Begin(t.Context(), w.work(bow("new"), FromTopic)); !errors.Is(err, sink.ErrNoAlias) {
		t.Errorf("an index that is not there: %v", err)
	}
	w.corpus(5)
	w.old()
	if _, err := m.Begin(t.Context(), w.work(bow("old"), FromTopic)); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("to the model that is served: %v", err)
	}
	// Somebody's own collection of that model.
	if err := w.catchUp(t.Context(), bow("new"), "others", "world--new-"+worker.ModelPin(bow("new").Recipe()).Digest[:12]); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Begin(t.Context(), w.work(bow("new"), FromTopic)); err == nil || !strings.Contains(err.Error(), "drop it first") {
		t.Errorf("over a collection that is there: %v", err)
	}
}

func TestGroupFor(t *testing.T) {
	t.Parallel()
	a, b := sink.Model{Digest: strings.Repeat("a", 64)}, sink.Model{Digest: strings.Repeat("b", 64)}
	first := GroupFor("workers", a)
	if first != "workers--aaaaaaaaaaaa" || GroupFor(first, b) != "workers--bbbbbbbbbbbb" || GroupFor(first, a) != first {
		t.Errorf("%s, %s, %s", first, GroupFor(first, b), GroupFor(first, a))
	}
}

func TestStatusTellsHowItStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.corpus(10)
	w.old()
	m := w.migration()
	if _, err := m.Begin(t.Context(), w.work(bow("new"), FromCollection)); err != nil {
		t.Fatal(err)
	}
	look := func() Status {
		t.Helper()
		all, err := m.Status(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	if s := look(); s.Phase != Created || s.Old == nil || s.Collection.Points != 0 {
		t.Errorf("begun: %+v", s)
	}
	if err := m.Run(t.Context(), w.work(bow("new"), FromCollection)); err != nil {
		t.Fatal(err)
	}
	w.upsert(0, "x", 1, "one more")
	if s := look(); s.Phase != Following || s.Lag != 1 || s.OldLag != 1 || s.Members != 0 || s.Collection.Points != s.Old.Points {
		t.Errorf("filled: %+v", s)
	}
}
