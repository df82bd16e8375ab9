package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"chunktide/embedder"
	"chunktide/embedder/tune"
)

const (
	holdOut      = 8  // every so many-th text is a query instead of a passage
	overlapDepth = 10 // the nearest passages that are compared
	speedTexts   = 192
)

// comparison is what [trial.compare] found.
type comparison struct {
	Passages int `json:"passages"`
	Queries  int `json:"queries"`
	Rounds   int `json:"rounds"`
	// Models are in the order they were named; the first is the reference.
	Models []compared `json:"models"`
}

// compared is one model against the reference.
type compared struct {
	ModelVersion string `json:"model_version"`
	// CosineMean and CosineWorst are over passages and queries; nil where the
	// vectors are of another length than the reference's.
	CosineMean  *float64 `json:"cosine_mean"`
	CosineWorst *float64 `json:"cosine_worst"`
	// Overlap is the share of the reference's ten nearest passages that are
	// among this model's, the mean over the queries.
	Overlap float64 `json:"overlap_at_10"`
	// Top1 is the share of queries whose nearest passage is the reference's.
	Top1 float64 `json:"top_1"`
	// Speed is how many texts this model encodes while the reference encodes
	// one.
	Speed float64 `json:"speed"`
}

// trial is a corpus to compare models on.
type trial struct {
	passages, queries []string
	rounds            int
}

func newTrial(texts []string, rounds int) trial {
	t := trial{rounds: rounds}
	seen := map[string]bool{}
	for _, text := range texts {
		if seen[text] {
			continue
		}
		seen[text] = true
		if len(seen)%holdOut == 0 {
			t.queries = append(t.queries, firstSentence(text))
		} else {
			t.passages = append(t.passages, text)
		}
	}
	return t
}

// firstSentence is the text up to the first full stop before a space, on one
// line.
func firstSentence(text string) string {
	line := strings.Join(strings.Fields(text), " ")
	sentence, _, _ := strings.Cut(line, ". ")
	return sentence
}

func (t trial) compare(ctx context.Context, encoders []embedder.Encoder) (comparison, error) {
	c := comparison{Passages: len(t.passages), Queries: len(t.queries), Rounds: t.rounds}
	var reference encoded
	for i, e := range encoders {
		mine, err := t.encode(ctx, e)
		if err != nil {
			return c, fmt.Errorf("%s: %w", e.Recipe().ModelVersion(), err)
		}
		if i == 0 {
			reference = mine
		}
		m := compared{ModelVersion: e.Recipe().ModelVersion()}
		m.CosineMean, m.CosineWorst = cosines(reference, mine)
		m.Overlap, m.Top1 = agreement(reference, mine)
		c.Models = append(c.Models, m)
	}
	speeds, err := t.speeds(ctx, encoders)
	for i := range c.Models {
		c.Models[i].Speed = speeds[i]
	}
	return c, err
}

// encoded are the vectors of a trial's texts by one model.
type encoded struct{ passages, queries [][]float32 }

func (t trial) encode(ctx context.Context, e embedder.Encoder) (encoded, error) {
	var out encoded
	for part := range slices.Chunk(t.passages, encodeRun) {
		embeddings, err := e.Encode(ctx, part)
		if err != nil {
			return out, err
		}
		for _, v := range embeddings {
			out.passages = append(out.passages, v.Vector)
		}
	}
	for _, q := range t.queries {
		v, err := e.EncodeQuery(ctx, q)
		if err != nil {
			return out, err
		}
		out.queries = append(out.queries, v.Vector)
	}
	return out, nil
}

func cosines(a, b encoded) (mean, worst *float64) {
	if len(a.queries[0]) != len(b.queries[0]) {
		return nil, nil
	}
	sum, least, n := 0.0, 1.0, 0
	for _, pair := range [][2][][]float32{{a.passages, b.passages}, {a.queries, b.queries}} {
		for i, v := range pair[0] {
			c := cosineOf(v, pair[1][i])
			sum, least, n = sum+c, min(least, c), n+1
		}
	}
	m := sum / float64(n)
	return &m, &least
}

func cosineOf(a, b []float32) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		y := float64(b[i])
		ab, aa, bb = ab+float64(x)*y, aa+float64(x)*float64(x), bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

// agreement compares the rankings of both models, each by its own vectors.
func agreement(a, b encoded) (overlap, top1 float64) {
	for i := range a.queries {
		x, y := nearest(a.queries[i], a.passages), nearest(b.queries[i], b.passages)
		same := 0
		for _, p := range x {
			if slices.Contains(y, p) {
				same++
			}
		}
		overlap += float64(same) / float64(len(x))
		if x[0] == y[0] {
			top1++
		}
	}
	n := float64(len(a.queries))
	return overlap / n, top1 / n
}

// nearest are the passages of the highest cosine, best first.
func nearest(query []float32, passages [][]float32) []int {
	scores, order := make([]float64, len(passages)), make([]int, len(passages))
	for i, p := range passages {
		scores[i], order[i] = cosineOf(query, p), i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	return order[:min(overlapDepth, len(order))]
}

// speeds lets the encoders take turns on the same texts. What else runs on the
// machine slows neighbouring turns alike, so the ratio within a turn counts.
func (t trial) speeds(ctx context.Context, encoders []embedder.Encoder) ([]float64, error) {
	texts := t.passages[:min(speedTexts, len(t.passages))]
	ratios := make([][]float64, len(encoders))
	for range t.rounds {
		var reference time.Duration
		for i, e := range encoders {
			start := time.Now()
			if _, err := e.Encode(ctx, texts); err != nil {
				return make([]float64, len(encoders)), fmt.Errorf("%s: %w", e.Recipe().ModelVersion(), err)
			}
			took := time.Since(start)
			if i == 0 {
				reference = took
			}
			ratios[i] = append(ratios[i], float64(reference)/float64(took))
		}
	}
	out := make([]float64, len(encoders))
	for i, r := range ratios {
		out[i] = tune.Median(r)
	}
	return out, nil
}
