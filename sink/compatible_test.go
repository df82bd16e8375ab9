package sink

import (
	"strings"
	"testing"

	"chunktide/chunk"
)

// A model that is declared compatible takes over a collection: both may write,
// each record says by whom, queries are for the newer one, and neither takes
// the other's vectors for its own.
func TestACompatibleModelAdoptsTheCollection(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a := newAdmin(t, s.cfg)
		newer := testModel("newer")
		apply(t, s, upsert("a", "x", 1), upsert("b", "y", 1))
		for name, declared := range map[string][]string{"nothing": nil, "another": {"else@123456789012"}} {
			if _, err := a.Adopt(t.Context(), newer, declared); err == nil || !strings.Contains(err.Error(), "compatible_with") {
				t.Errorf("declared with %s: %v", name, err)
			}
		}
		wide := newer
		wide.Dim++
		if _, err := a.Adopt(t.Context(), wide, []string{s.model.Version}); err == nil || !strings.Contains(err.Error(), "dimensions") {
			t.Errorf("other dimensions: %v", err)
		}
		// Undeclared it is refused as ever.
		if w, err := Open(t.Context(), s.cfg, newer, quiet(), nil); err == nil {
			_ = w.Close()
			t.Fatal("another model was let in")
		}
		for range 2 {
			if got, err := a.Adopt(t.Context(), newer, []string{s.model.Version}); err != nil || got != s.collection {
				t.Fatalf("adopted %s, %v", got, err)
			}
		}
		w, err := Open(t.Context(), s.cfg, newer, quiet(), nil)
		if err != nil || w.Collection() != s.collection {
			t.Fatalf("the newer model writes to %v, %v", w, err)
		}
		t.Cleanup(func() { _ = w.Close() })
		apply(t, w, upsert("b", "z", 2))
		apply(t, s, upsert("c", "old worker", 1))
		for _, c := range []struct {
			reader *Sink
			name   string
			own    bool
		}{{w, "a", false}, {w, "b", true}, {w, "c", false}, {s, "a", true}, {s, "b", false}, {s, "c", true}} {
			id := chunk.NewID("s", "d", c.name)
			got, err := c.reader.Read(t.Context(), []chunk.ID{id}, true)
			if st := got[id]; err != nil || st.Foreign == c.own || (st.Embedding.Vector != nil) != c.own || st.Text == "" {
				t.Errorf("%s reads %s as %+v, %v", c.reader.model.Version, c.name, st, err)
			}
		}
		if r, err := OpenReader(t.Context(), s.cfg, s.model, quiet(), nil); err == nil {
			_ = r.Close()
			t.Error("queries of the older model are let in")
		}
		r, err := OpenReader(t.Context(), s.cfg, newer, quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		hits, err := r.Search(t.Context(), unit(chunk.HashText("x")), 10)
		if err != nil || len(hits) != 3 || hits[0].ModelVersion != s.model.Version {
			t.Errorf("found %+v, %v", hits, err)
		}
		aliases := &Aliases{a.client}
		if _, m, err := aliases.Serving(t.Context(), s.cfg.Index); err != nil || m.Version != newer.Version {
			t.Errorf("queries are for %s, %v", m.Version, err)
		}
		// A third model must be declared compatible with both.
		third := testModel("third")
		if _, err := a.Adopt(t.Context(), third, []string{newer.Version}); err == nil || !strings.Contains(err.Error(), s.model.Version) {
			t.Errorf("compatible with one of two: %v", err)
		}
		if _, err := a.Adopt(t.Context(), third, []string{newer.Version, s.model.Version}); err != nil {
			t.Error(err)
		}
		c, err := a.Get(t.Context(), "")
		if err != nil || c.Model.Version != s.model.Version || len(c.Adopted) != 2 || c.Adopted[0].Version != newer.Version || c.Adopted[1].Version != third.Version {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestMadeKnowsAModelUnderAnyName(t *testing.T) {
	m := Model{Version: "name@0123456789ab", Digest: "0123456789abcdef"}
	for version, want := range map[string]bool{
		"name@0123456789ab": true, "renamed@0123456789ab": true, "name@ba9876543210": false, "name": false, "": false,
	} {
		if m.made(version) != want {
			t.Errorf("%q: %v", version, !want)
		}
	}
}
