package sink

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/qdrant/go-client/qdrant"
)

func newAdmin(t *testing.T, cfg Config) *Admin {
	t.Helper()
	a, err := OpenAdmin(cfg, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// another makes a second collection in the index of s, which goes with it.
func another(t *testing.T, s *Sink, a *Admin, model Model) string {
	t.Helper()
	name, err := a.Create(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the sink's own
		_, _ = s.collect.Delete(context.Background(), &qdrant.DeleteCollection{CollectionName: name})
	})
	return name
}

func served(t *testing.T, a *Admin) string {
	t.Helper()
	name, err := a.alias(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestListTellsWhatAnIndexHas(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		apply(t, s, upsert("a", "x", 1), upsert("b", "y", 2), remove("c", 3))
		next := another(t, s, a, testModel("zz"))
		if err := a.Note(t.Context(), next, map[string]any{"migrate": map[string]any{"phase": "backfill", "n": int64(7)}}); err != nil {
			t.Fatal(err)
		}
		open(t, testConfig(s.cfg.Address), testModel("m")) // another index is not listed
		list, err := a.List(t.Context())
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		want := Collection{
			Name: s.collection, Model: s.model, Serving: true, Aliases: []string{s.cfg.Index}, Points: 3, Tombstones: 1,
			VectorBytes: 2 * testDim * 4, Status: "green", Groups: []string{}, Notes: map[string]any{},
		}
		if !reflect.DeepEqual(list[0], want) {
			t.Errorf("%+v\nwant %+v", list[0], want)
		}
		if list[1].Name != next || list[1].Serving || list[1].Model != testModel("zz") ||
			!reflect.DeepEqual(list[1].Notes["migrate"], map[string]any{"phase": "backfill", "n": int64(7)}) {
			t.Errorf("%+v", list[1])
		}
		if c, err := a.Get(t.Context(), ""); err != nil || c.Name != s.collection {
			t.Errorf("what is served: %+v, %v", c, err)
		}
		if _, err := a.Get(t.Context(), "none"); err == nil || !strings.Contains(err.Error(), next) {
			t.Errorf("a name that is not there: %v", err)
		}
	})
}

func TestNotesMergeAndThePinStays(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		for _, notes := range []map[string]any{
			{"one": "a", "two": map[string]any{"x": int64(1), "y": int64(2)}}, {"two": map[string]any{"x": int64(3)}}, {"one": nil, "three": true},
		} {
			if err := a.Note(t.Context(), s.collection, notes); err != nil {
				t.Fatal(err)
			}
		}
		got, err := a.Notes(t.Context(), s.collection)
		want := map[string]any{"two": map[string]any{"x": int64(3)}, "three": true}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
		for key := range s.model.pin() {
			if err := a.Note(t.Context(), s.collection, map[string]any{key: "x"}); err == nil {
				t.Errorf("the pin's %s could be changed", key)
			}
		}
		if pin, err := s.Pin(t.Context()); err != nil || pin != s.model {
			t.Errorf("the pin is %+v, %v", pin, err)
		}
	})
}

func TestPromoteAndRollback(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		first, second := s.collection, another(t, s, a, testModel("b"))
		third := another(t, s, a, testModel("c"))
		step := func(err error, want string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if got := served(t, a); got != want {
				t.Errorf("%s is served, want %s", got, want)
			}
			if aliases, _ := a.aliases(t.Context()); guards(s.cfg.Index, aliases) != guardOf(s.cfg.Index, want)+">"+want {
				t.Errorf("guards: %s", guards(s.cfg.Index, aliases))
			}
		}
		step(a.Promote(t.Context(), first, first), first)
		step(a.Promote(t.Context(), second, first), second)
		step(a.Promote(t.Context(), third, second), third)
		for _, want := range []string{second, first} {
			to, err := a.Rollback(t.Context(), served(t, a))
			if to != want {
				t.Errorf("rolled back to %s, want %s", to, want)
			}
			step(err, want)
		}
		if _, err := a.Rollback(t.Context(), first); err == nil || !strings.Contains(err.Error(), "nothing to go back to") {
			t.Errorf("before the first: %v", err)
		}
		if err := a.Promote(t.Context(), third, second); !errors.Is(err, ErrAliasMoved) {
			t.Errorf("from where the alias is not: %v", err)
		}
		if c, _ := a.Get(t.Context(), second); c.Previous != first {
			t.Errorf("what came before %s: %s", second, c.Previous)
		}
		if err := a.Promote(t.Context(), "none", first); err == nil {
			t.Error("a collection that is not there was promoted")
		}
		step(nil, first)
	})
}

func guards(index string, aliases []*qdrant.AliasDescription) string {
	var list []string
	for _, a := range aliases {
		if isGuard(index, a.GetAliasName()) {
			list = append(list, a.GetAliasName()+">"+a.GetCollectionName())
		}
	}
	return strings.Join(list, " ")
}

// Of many who saw the same collection served, one may replace it. The control
// switches as Qdrant alone does, after the same look.
func TestOneOfManyPromotionsWins(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		names := []string{s.collection}
		for _, m := range []string{"b", "c", "d", "e"} {
			names = append(names, another(t, s, a, testModel(m)))
		}
		race := func(promote func(to string) error) (winners []string) {
			var mu sync.Mutex
			var wg sync.WaitGroup
			for _, to := range names[1:] {
				wg.Go(func() {
					switch err := promote(to); {
					case err == nil:
						mu.Lock()
						defer mu.Unlock()
						winners = append(winners, to)
					case !errors.Is(err, ErrAliasMoved):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return winners
		}
		for range 10 {
			from := served(t, a)
			winners := race(func(to string) error {
				if to == from {
					return ErrAliasMoved
				}
				// All have looked; what remains is the one request.
				return a.switchAlias(context.WithoutCancel(t.Context()), to, from)
			})
			if len(winners) != 1 || winners[0] != served(t, a) {
				t.Fatalf("%v won, %s is served", winners, served(t, a))
			}
		}
		from := served(t, a)
		var looked sync.WaitGroup
		looked.Add(len(names) - 1)
		winners := race(func(to string) error {
			err := a.still(context.WithoutCancel(t.Context()), from)
			looked.Done()
			looked.Wait()
			if err != nil {
				return err
			}
			return a.changeAliases(context.WithoutCancel(t.Context()), qdrant.NewAliasCreate(s.cfg.Index, to))
		})
		if len(winners) < 2 {
			t.Error("without the guard one won as well: this test proves nothing")
		}
		// A hand moved the alias past its guard; that mends itself.
		if err := a.Promote(t.Context(), names[0], served(t, a)); err != nil {
			t.Errorf("after a switch by hand: %v", err)
		}
	})
}

func TestDropRefusesWhatIsServed(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		next := another(t, s, a, testModel("b"))
		if err := a.Drop(t.Context(), s.collection); err == nil || !strings.Contains(err.Error(), s.cfg.Index) {
			t.Errorf("what is served: %v", err)
		}
		if err := a.Drop(t.Context(), "none"); err == nil {
			t.Error("a collection that is not there was dropped")
		}
		if err := a.changeAliases(t.Context(), qdrant.NewAliasCreate(s.cfg.Index+"-other", next)); err != nil {
			t.Fatal(err)
		}
		if err := a.Drop(t.Context(), next); err == nil || !strings.Contains(err.Error(), s.cfg.Index+"-other") {
			t.Errorf("another alias points to it: %v", err)
		}
		if err := a.changeAliases(t.Context(), qdrant.NewAliasDelete(s.cfg.Index+"-other")); err != nil {
			t.Fatal(err)
		}
		// One that is on its way out is not promoted.
		if err := a.Note(t.Context(), next, map[string]any{noteDropping: true}); err != nil {
			t.Fatal(err)
		}
		if err := a.Promote(t.Context(), next, s.collection); err == nil || !strings.Contains(err.Error(), "being dropped") {
			t.Errorf("promoted what is being dropped: %v", err)
		}
		// Nor if it is announced while the alias moves.
		if err := a.switchAlias(t.Context(), next, s.collection); err == nil || served(t, a) != s.collection {
			t.Errorf("%v; %s is served", err, served(t, a))
		}
		if err := a.Drop(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if exists, err := a.exists(t.Context(), next); err != nil || exists {
			t.Errorf("it is still there: %t, %v", exists, err)
		}
		if served(t, a) != s.collection {
			t.Error("the alias is gone")
		}
	})
}

// After a promotion a worker of the old model keeps its collection current,
// also when it starts anew; the alias stays where it is.
func TestTheOldWorkerGoesOnAfterAPromotion(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		next := another(t, s, a, testModel("b"))
		if err := a.Promote(t.Context(), next, s.collection); err != nil {
			t.Fatal(err)
		}
		again, err := Open(t.Context(), s.cfg, s.model, quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if again.collection != s.collection || served(t, a) != next {
			t.Errorf("writes to %s, %s is served", again.collection, served(t, a))
		}
		apply(t, again, upsert("a", "current", 5))
		want(t, s, "a", "current@5")
		// The control: a model that has no collection here is refused.
		if _, err := Open(t.Context(), s.cfg, testModel("other"), quiet(), nil); err == nil || !strings.Contains(err.Error(), "migrate") {
			t.Errorf("a third model: %v", err)
		}
	})
}

// The events of a group must not be shared out between two collections.
func TestAGroupFeedsOneCollection(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		cfg := s.cfg
		cfg.Group = "workers"
		fed := open(t, cfg, s.model)
		next := cfg
		next.Collection = s.collection + "-next"
		if _, err := Open(t.Context(), next, testModel("b"), quiet(), nil); err == nil || !strings.Contains(err.Error(), "kafka.group") {
			t.Errorf("the group was let into a second collection: %v", err)
		}
		next.Group = "others"
		other := open(t, next, s.model)
		if c, err := newAdmin(t, cfg).Get(t.Context(), other.collection); err != nil || !reflect.DeepEqual(c.Groups, []string{"others"}) {
			t.Errorf("%+v, %v", c, err)
		}
		// Two collections of one model: each worker finds its own, wherever the
		// alias points.
		if err := newAdmin(t, cfg).Promote(t.Context(), other.collection, fed.collection); err != nil {
			t.Fatal(err)
		}
		for group, want := range map[string]string{"workers": fed.collection, "others": other.collection, "new": other.collection} {
			c := cfg
			c.Group = group
			w, err := Open(t.Context(), c, s.model, quiet(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if w.collection != want {
				t.Errorf("group %s writes to %s, want %s", group, w.collection, want)
			}
			_ = w.Close()
		}
	})
}

func TestGuardsAreToldApart(t *testing.T) {
	g := guardOf("chunks", "chunks--m-1")
	for alias, want := range map[string]bool{g: true, "chunks": false, "chunks--serving-x": false, guardOf("other", "c"): false} {
		if isGuard("chunks", alias) != want {
			t.Errorf("%s is a guard: %t", alias, !want)
		}
	}
	if g == guardOf("chunks", "chunks--m-2") || len(guardOf(strings.Repeat("x", 201), "c")) > 255 {
		t.Error(g)
	}
}
