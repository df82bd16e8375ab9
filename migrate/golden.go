package migrate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"chunktide/chunk"
	"chunktide/sink"
)

// Query is a golden query: one whose answer matters.
type Query struct {
	Text string
	// Relevant are the chunks that answer it, where somebody has said so.
	Relevant []chunk.ID
}

// ReadQueries reads golden queries, a JSON object a line:
//
//	{"query": "how do I reset my password", "relevant": ["docs/handbook/reset"]}
//
// Relevant may be absent, or holds chunks as source/document_id/chunk_id
// (["docs","handbook","reset"] where a name has a slash), or as point ids.
func ReadQueries(in io.Reader, lineBytes int) ([]Query, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineBytes)
	var out []Query
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		q, err := readQuery(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("golden query of line %d: %w", n, err)
		}
		out = append(out, q)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the golden queries: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("there are no golden queries")
	}
	return out, nil
}

func readQuery(line []byte) (q Query, err error) {
	var object struct {
		Query    *string           `json:"query"`
		Relevant []json.RawMessage `json:"relevant"`
	}
	if err := json.Unmarshal(line, &object); err != nil || object.Query == nil || *object.Query == "" {
		return q, errors.New(`want {"query": "…", "relevant": [chunks]}`)
	}
	q.Text = *object.Query
	for _, raw := range object.Relevant {
		id, err := readChunk(raw)
		if err != nil {
			return q, err
		}
		if !slices.Contains(q.Relevant, id) {
			q.Relevant = append(q.Relevant, id)
		}
	}
	return q, nil
}

func readChunk(raw json.RawMessage) (chunk.ID, error) {
	var names []string
	if json.Unmarshal(raw, &names) == nil && len(names) == 3 {
		return chunk.NewID(names[0], names[1], names[2]), nil
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return chunk.ID{}, errors.New("a relevant chunk is neither a string nor a list of source, document_id and chunk_id")
	}
	if id, err := chunk.ParseID(name); err == nil {
		return id, nil
	}
	if names = strings.Split(name, "/"); len(names) != 3 {
		return chunk.ID{}, fmt.Errorf("a relevant chunk has %d parts, not source/document_id/chunk_id: where a name has a slash, write a list of the three", len(names))
	}
	return chunk.NewID(names[0], names[1], names[2]), nil
}

// Quality is how good a ranking is, averaged over the labelled queries.
type Quality struct {
	Recall float64 `json:"recall"`
	NDCG   float64 `json:"ndcg"`
}

// Comparison is what golden queries find in two collections.
type Comparison struct {
	K       int `json:"k"`
	Queries int `json:"queries"`
	// Overlap is the mean overlap@k of the two rankings.
	Overlap float64 `json:"overlap"`
	// Labelled is how many queries have relevant chunks; Old and New are of
	// those, and zero without any.
	Labelled int     `json:"labelled"`
	Old      Quality `json:"old"`
	New      Quality `json:"new"`
}

// Searcher finds the chunks nearest to a query's text, best first, at most k.
type Searcher func(ctx context.Context, query string, k int) ([]chunk.ID, error)

// Compare asks each query of both.
func Compare(ctx context.Context, queries []Query, k int, before, after Searcher) (Comparison, error) {
	c := Comparison{K: k, Queries: len(queries)}
	if k < 1 || len(queries) == 0 {
		return c, errors.New("golden queries: want at least one, and k of 1 or more")
	}
	for i, q := range queries {
		was, err := before(ctx, q.Text, k)
		if err != nil {
			return c, fmt.Errorf("golden query %d, old model: %w", i+1, err)
		}
		is, err := after(ctx, q.Text, k)
		if err != nil {
			return c, fmt.Errorf("golden query %d, new model: %w", i+1, err)
		}
		c.Overlap += Overlap(was, is, k)
		if len(q.Relevant) == 0 {
			continue
		}
		c.Labelled++
		c.Old.Recall += Recall(was, q.Relevant, k)
		c.New.Recall += Recall(is, q.Relevant, k)
		c.Old.NDCG += NDCG(was, q.Relevant, k)
		c.New.NDCG += NDCG(is, q.Relevant, k)
	}
	c.Overlap /= float64(c.Queries)
	if n := float64(c.Labelled); n > 0 {
		c.Old, c.New = Quality{c.Old.Recall / n, c.Old.NDCG / n}, Quality{c.New.Recall / n, c.New.NDCG / n}
	}
	return c, nil
}

// Overlap is overlap@k of two rankings: the share of the first k of one that is
// also among the first k of the other, of as many as the longer one has; 1 for
// two empty ones. (Webber, Moffat, Zobel: A similarity measure for indefinite
// rankings, ACM TOIS 28(4), 2010, section 3.)
func Overlap(a, b []chunk.ID, k int) float64 {
	a, b = top(a, k), top(b, k)
	if len(a) == 0 && len(b) == 0 {
		return 1
	}
	return float64(common(a, b)) / float64(max(len(a), len(b)))
}

// Recall is recall@k: the share of the relevant chunks that are among the
// first k. (Manning, Raghavan, Schütze: Introduction to Information Retrieval,
// 2008, section 8.4.)
func Recall(ranking, relevant []chunk.ID, k int) float64 {
	return float64(common(top(ranking, k), relevant)) / float64(len(relevant))
}

// NDCG is nDCG@k with gains of 0 and 1: the sum of 1/log2(1+rank) over the
// relevant chunks among the first k, divided by what the best ranking would
// have. (Järvelin, Kekäläinen: Cumulated gain-based evaluation of IR
// techniques, ACM TOIS 20(4), 2002; with the discount of trec_eval.)
func NDCG(ranking, relevant []chunk.ID, k int) float64 {
	got, best := 0.0, 0.0
	for i, id := range top(ranking, k) {
		if slices.Contains(relevant, id) {
			got += 1 / math.Log2(float64(i+2))
		}
	}
	for i := range min(k, len(relevant)) {
		best += 1 / math.Log2(float64(i+2))
	}
	return got / best
}

func top(ranking []chunk.ID, k int) []chunk.ID { return ranking[:min(k, len(ranking))] }

func common(a, b []chunk.ID) (n int) {
	for _, id := range a {
		if slices.Contains(b, id) {
			n++
		}
	}
	return n
}

// IDs are the ids of hits, in order.
func IDs(hits []sink.Hit) []chunk.ID {
	out := make([]chunk.ID, len(hits))
	for i, h := range hits {
		out[i] = h.ID
	}
	return out
}
