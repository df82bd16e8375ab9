package qdrantd

import (
	"cmp"
	"container/heap"
	"math"
	"runtime"
	"slices"
	"sync"
)

// hit is a point and how well it matches: higher is better.
type hit struct {
	point *point
	score float32
}

// compareHits puts the better first. NaN counts as better than all, as in the
// real server's order of floats. Equal scores go by id.
func compareHits(a, b hit) int {
	return cmp.Or(compareScores(b.score, a.score), compareIDs(a.point.id, b.point.id))
}

func compareScores(a, b float32) int {
	aNaN, bNaN := math.IsNaN(float64(a)), math.IsNaN(float64(b))
	switch {
	case aNaN && bNaN:
		return 0
	case aNaN:
		return 1
	case bNaN:
		return -1
	default:
		return cmp.Compare(a, b)
	}
}

// best keeps the k best hits, with the worst of them on top of a heap.
type best struct {
	k    int
	hits []hit
}

func (b *best) Len() int           { return len(b.hits) }
func (b *best) Less(i, j int) bool { return compareHits(b.hits[i], b.hits[j]) > 0 }
func (b *best) Swap(i, j int)      { b.hits[i], b.hits[j] = b.hits[j], b.hits[i] }
func (b *best) Push(x any)         { b.hits = append(b.hits, x.(hit)) }
func (b *best) Pop() any {
	last := len(b.hits) - 1
	h := b.hits[last]
	b.hits = b.hits[:last]
	return h
}

func (b *best) add(h hit) {
	switch {
	case len(b.hits) < b.k:
		heap.Push(b, h)
	case b.k > 0 && compareHits(h, b.hits[0]) < 0:
		b.hits[0] = h
		heap.Fix(b, 0)
	}
}

// scoring is a search for the points nearest to a vector.
type scoring struct {
	query    []float32
	position int // of the vector that is compared
	metric   metric
	filter   *filter
	// except is the point that the query vector was taken from.
	except    *pointID
	threshold *float32
}

// below this many points a second goroutine costs more than it saves.
const pointsPerWorker = 10_000

// nearest returns the k best hits in order. The caller must hold the
// collection.
func (c *collection) nearest(s *scoring, k int) []hit {
	points := c.points
	if s.filter != nil {
		if _, few := s.filter.onlyIDs(); few {
			points = c.matching(s.filter)
		}
	}
	k = min(k, len(points))
	workers := min(max(1, len(points)/pointsPerWorker), runtime.GOMAXPROCS(0))
	parts := make([]best, workers)
	var group sync.WaitGroup
	for w := range workers {
		part := points[w*len(points)/workers : (w+1)*len(points)/workers]
		parts[w].k = k
		group.Go(func() { s.scan(part, &parts[w]) })
	}
	group.Wait()
	var all []hit
	for _, p := range parts {
		all = append(all, p.hits...)
	}
	slices.SortFunc(all, compareHits)
	return all[:min(k, len(all))]
}

func (s *scoring) scan(points []*point, into *best) {
	for _, p := range points {
		vector := p.vectors[s.position]
		if vector == nil || s.except != nil && p.id == *s.except {
			continue
		}
		score := s.metric.compare(s.query, vector)
		if len(into.hits) == into.k && into.k > 0 && compareScores(score, into.hits[0].score) < 0 {
			continue // the filter is dearer than the product
		}
		if s.threshold != nil && !s.metric.passes(s.metric.score(score), *s.threshold) {
			continue
		}
		if s.filter == nil || s.filter.match(p) {
			into.add(hit{p, score})
		}
	}
}
