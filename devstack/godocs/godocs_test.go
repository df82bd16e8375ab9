package godocs_test

import (
	"slices"
	"testing"

	"chunktide/devstack/godocs"
)

func TestTakeIsSpreadOverAll(t *testing.T) {
	all, err := godocs.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5000 {
		t.Errorf("%d passages", len(all))
	}
	some, err := godocs.Take(t.Context(), 100)
	if err != nil || len(some) != 100 {
		t.Fatalf("%d passages, %v", len(some), err)
	}
	documents := map[string]bool{}
	for _, p := range some {
		if p.Text == "" || p.Chunk == "" {
			t.Errorf("an empty passage of %s", p.Document)
		}
		documents[p.Document] = true
	}
	if len(documents) < 40 {
		t.Errorf("from %d packages only", len(documents))
	}
	again, err := godocs.Take(t.Context(), 100)
	if err != nil || !slices.EqualFunc(some, again, func(a, b godocs.Passage) bool { return a.Text == b.Text && a.Chunk == b.Chunk }) {
		t.Errorf("not the same the second time: %v", err)
	}
	if _, err := godocs.Take(t.Context(), len(all)+1); err == nil {
		t.Error("more passages than there are were taken")
	}
}
