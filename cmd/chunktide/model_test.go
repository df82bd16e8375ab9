package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"chunktide/chunk"
	"chunktide/embedder"
)

// angled encodes a text "n" as the unit vector at n degrees, turned by error.
type angled struct {
	embedder.Encoder
	name  string
	error func(n int) float64
}

func (e angled) Encode(_ context.Context, texts []string) ([]chunk.Embedding, error) {
	out := make([]chunk.Embedding, len(texts))
	for i, t := range texts {
		var n int
		if _, err := fmt.Sscan(t, &n); err != nil {
			return nil, err
		}
		a := (float64(n) + e.error(n)) * math.Pi / 180
		out[i].Vector = []float32{float32(math.Cos(a)), float32(math.Sin(a))}
	}
	return out, nil
}

func (e angled) EncodeQuery(ctx context.Context, text string) (chunk.Embedding, error) {
	out, err := e.Encode(ctx, []string{text})
	if err != nil {
		return chunk.Embedding{}, err
	}
	return out[0], nil
}

func (e angled) Recipe() embedder.Recipe {
	return embedder.Recipe{Encoder: embedder.EncoderBow, Name: e.name}
}

func degrees() []string {
	texts := []string{"0", "0"} // one of them counts
	for n := 1; n < 160; n++ {
		texts = append(texts, fmt.Sprint(n))
	}
	return texts
}

func TestCompareMeasuresWhatAnotherModelChanges(t *testing.T) {
	exact := angled{name: "exact", error: func(int) float64 { return 0 }}
	// Every passage turns alike, and so does the query: other vectors, the same
	// neighbours.
	turned := angled{name: "turned", error: func(int) float64 { return 60 }}
	// Passages of one half come to lie on the other side of the circle.
	torn := angled{name: "torn", error: func(n int) float64 { return float64(n % 2 * 180) }}

	c, err := newTrial(degrees(), 1).compare(t.Context(), []embedder.Encoder{exact, exact, turned, torn})
	if err != nil {
		t.Fatal(err)
	}
	if c.Passages != 140 || c.Queries != 20 {
		t.Errorf("%d passages, %d queries", c.Passages, c.Queries)
	}
	for i, want := range []struct{ mean, worst, overlapMin, overlapMax float64 }{
		{1, 1, 1, 1}, {1, 1, 1, 1}, {.5, .5, 1, 1}, {0, -1, .2, .7},
	} {
		m := c.Models[i]
		if math.Abs(*m.CosineMean-want.mean) > .01 || math.Abs(*m.CosineWorst-want.worst) > 1e-6 ||
			m.Overlap < want.overlapMin || m.Overlap > want.overlapMax || m.Speed <= 0 {
			t.Errorf("%s: cosine %v, worst %v, overlap %v, speed %v", m.ModelVersion, *m.CosineMean, *m.CosineWorst, m.Overlap, m.Speed)
		}
	}
}

// No query may find itself: it would flatter every model.
func TestATrialHoldsItsQueriesOut(t *testing.T) {
	trial := newTrial(degrees(), 1)
	passages := map[string]bool{}
	for _, p := range trial.passages {
		if passages[p] {
			t.Errorf("passage %s twice", p)
		}
		passages[p] = true
	}
	for _, q := range trial.queries {
		if passages[q] {
			t.Errorf("query %s is a passage", q)
		}
	}
	if got := firstSentence("Open opens\na file. It fails. "); got != "Open opens a file" {
		t.Errorf("%q", got)
	}
}

func TestModelCompareCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	tiny := "../../embedder/testdata/tiny"
	var lines strings.Builder
	for i := range 40 {
		fmt.Fprintf(&lines, "the vector index of model %d\n", i)
	}
	code, out, errs := command(t, lines.String(), "model", "compare", "--corpus", "-", "--rounds", "1", "-o", "json", tiny, tiny)
	var c comparison
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v: %s %s", code, err, out, errs)
	}
	if m := c.Models[1]; len(c.Models) != 2 || c.Queries != 5 || *m.CosineWorst < 1-1e-9 || m.Overlap != 1 || m.Top1 != 1 {
		t.Errorf("%+v", c)
	}
	for name, args := range map[string][]string{
		"one model":      {tiny},
		"no such corpus": {"--corpus", "no-such-file", tiny, tiny},
		"too few texts":  {"--corpus", "-", "--chunks", "9", tiny, tiny},
		"no round":       {"--rounds", "0", tiny, tiny},
	} {
		if code, _, errs := command(t, lines.String(), append([]string{"model", "compare"}, args...)...); code != exitUsage || errs == "" {
			t.Errorf("%s: exit %d: %s", name, code, errs)
		}
	}
}
