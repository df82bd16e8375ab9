package migrate

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"chunktide/chunk"
)

// ranking makes ids of letters.
func ranking(letters string) []chunk.ID {
	out := make([]chunk.ID, len(letters))
	for i := range letters {
		out[i] = chunk.ID{letters[i]}
	}
	return out
}

// The expected values are computed by hand: the discounts are 1/log2(2) = 1,
// 1/log2(3) = 0.630930, 1/log2(4) = 0.5, 1/log2(5) = 0.430677.
func TestMetricsAgainstHandComputedValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ranking, relevant string
		k                 int
		recall, ndcg      float64
	}{
		{"abcd", "a", 4, 1, 1},
		{"abcd", "b", 4, 1, 0.630930},
		{"abcd", "d", 4, 1, 0.430677},
		{"abcd", "d", 3, 0, 0},
		{"abcd", "x", 4, 0, 0},
		{"", "a", 4, 0, 0},
		// (1 + 0.5) / (1 + 0.630930)
		{"abcd", "ac", 4, 1, 0.919721},
		// (0.630930 + 0.430677) / (1 + 0.630930 + 0.5): three are relevant, two found.
		{"abcd", "bdx", 4, 2. / 3, 0.498189},
		// Of more relevant ones than k, the best ranking has k: 1 / (1 + 0.630930).
		{"abcd", "axyz", 2, 1. / 4, 0.613147},
		{"ab", "abcd", 2, 1. / 2, 1},
	} {
		recall, ndcg := Recall(ranking(c.ranking), ranking(c.relevant), c.k), NDCG(ranking(c.ranking), ranking(c.relevant), c.k)
		if math.Abs(recall-c.recall) > 1e-6 || math.Abs(ndcg-c.ndcg) > 1e-6 {
			t.Errorf("%s for %s at %d: recall %.6f, nDCG %.6f; want %.6f and %.6f", c.ranking, c.relevant, c.k, recall, ndcg, c.recall, c.ndcg)
		}
	}
	for _, c := range []struct {
		a, b string
		k    int
		want float64
	}{
		{"abcd", "abcd", 4, 1}, {"abcd", "dcba", 4, 1}, {"abcd", "wxyz", 4, 0}, {"abcd", "abxy", 4, 0.5},
		{"abcd", "cdab", 2, 0}, {"ab", "abcd", 4, 0.5}, {"", "", 3, 1}, {"", "a", 3, 0},
	} {
		if got := Overlap(ranking(c.a), ranking(c.b), c.k); got != c.want {
			t.Errorf("overlap@%d of %q and %q is %v, want %v", c.k, c.a, c.b, got, c.want)
		}
	}
}

func TestCompareIsTheMeanOverTheQueries(t *testing.T) {
	t.Parallel()
	finds := func(by map[string]string) Searcher {
		return func(_ context.Context, query string, k int) ([]chunk.ID, error) {
			return top(ranking(by[query]), k), nil
		}
	}
	queries := []Query{{Text: "one", Relevant: ranking("a")}, {Text: "two"}, {Text: "three", Relevant: ranking("ab")}}
	got, err := Compare(t.Context(), queries, 2,
		finds(map[string]string{"one": "ab", "two": "ab", "three": "xa"}),
		finds(map[string]string{"one": "ba", "two": "cd", "three": "ab"}))
	if err != nil {
		t.Fatal(err)
	}
	// overlaps 1, 0, 1/2; old: recall (1 + 1/2)/2, nDCG (1 + 0.630930/1.630930)/2;
	// new: recall (1 + 1)/2, nDCG (0.630930 + 1)/2.
	want := Comparison{K: 2, Queries: 3, Labelled: 2, Overlap: 0.5, Old: Quality{0.75, 0.693426}, New: Quality{1, 0.815465}}
	close := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
	if got.K != want.K || got.Queries != want.Queries || got.Labelled != want.Labelled || !close(got.Overlap, want.Overlap) ||
		!close(got.Old.Recall, want.Old.Recall) || !close(got.Old.NDCG, want.Old.NDCG) ||
		!close(got.New.Recall, want.New.Recall) || !close(got.New.NDCG, want.New.NDCG) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	broken := errors.New("broken")
	fails := func(context.Context, string, int) ([]chunk.ID, error) { return nil, broken }
	if _, err := Compare(t.Context(), queries, 2, fails, fails); !errors.Is(err, broken) {
		t.Errorf("a search that fails: %v", err)
	}
}

func TestGoldenQueriesAreRead(t *testing.T) {
	t.Parallel()
	const lines = `{"query": "one"}

{"query": "two", "relevant": ["s/d/c", ["s", "d/e", "c"], "00112233-4455-6677-8899-aabbccddeeff", "s/d/c"]}
`
	got, err := ReadQueries(strings.NewReader(lines), 1000)
	if err != nil || len(got) != 2 || got[0].Text != "one" || got[0].Relevant != nil || len(got[1].Relevant) != 3 ||
		got[1].Relevant[0] != chunk.NewID("s", "d", "c") || got[1].Relevant[1] != chunk.NewID("s", "d/e", "c") || got[1].Relevant[2][1] != 0x11 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "\n", "nonsense", `{"text": "x"}`, `{"query": ""}`, `{"query": "x", "relevant": ["a/b"]}`,
		`{"query": "x", "relevant": ["a/b/c/d"]}`, `{"query": "x", "relevant": [7]}`, `{"query": "` + strings.Repeat("x", 1000) + `"}`} {
		if got, err := ReadQueries(strings.NewReader(bad), 1000); err == nil {
			t.Errorf("%.40q is read as %v", bad, got)
		}
	}
}
