package embedder

import (
	"cmp"
	"math"
	"slices"
)

// text is a tokenized text of a call.
type text struct {
	index int // in the call
	ids   []int64
	total int // tokens before any cut
	dim   int // values that its vector is cut to; 0: the recipe's
}

// run is what goes through the model at once: texts padded to one length.
type run struct {
	texts  []text
	length int // padded
}

func (r run) padded() int { return len(r.texts) * r.length }

// shapes are the limits of a run.
type shapes struct {
	budget  int // padded tokens, unless one text has more
	texts   int
	step    int // padded lengths are multiples of it, up to longest
	longest int // the most tokens that a text has
	// perRun is what a run costs beside its padded tokens, in tokens.
	perRun int
	// lanes is how many runs go on at once, and least the budget down to which
	// a call's last runs shrink so that all lanes end together.
	lanes, least int
}

// within are the limits with a budget of at most bound.
func (s shapes) within(bound int) shapes {
	s.budget, s.least = min(s.budget, bound), min(s.least, bound)
	return s
}

// plan cuts texts into runs, longest first, so that neighbours are of like
// length: in the way that costs least, where a run costs its padded tokens and
// perRun more. So it is cut where the lengths fall, and only as often as that
// saves more padding than a run costs. A text longer than the budget goes alone.
// The texts are sorted in place.
//
// The runs shrink towards the end (guided self-scheduling, Polychronopoulos and
// Kuck 1987): none takes more than half of a lane's share of what is left. So
// no lane is idle for long while another works on the call's last run, and a
// call of few texts uses all lanes.
func plan(texts []text, limits shapes) []run {
	slices.SortStableFunc(texts, func(a, b text) int { return cmp.Compare(len(b.ids), len(a.ids)) })
	// From the end: the least cost of the texts from each one on, and how many
	// of them its run takes.
	cost, take := make([]int, len(texts)+1), make([]int, len(texts))
	left := 0
	for i := len(texts) - 1; i >= 0; i-- {
		left += len(texts[i].ids)
		length := limits.padded(len(texts[i].ids))
		cost[i] = math.MaxInt
		for n := 1; n <= limits.most(length, left, len(texts)-i); n++ {
			if c := limits.perRun + n*length + cost[i+n]; c <= cost[i] {
				cost[i], take[i] = c, n
			}
		}
	}
	var runs []run
	for i := 0; i < len(texts); i += take[i] {
		runs = append(runs, run{texts: texts[i : i+take[i]], length: limits.padded(len(texts[i].ids))})
	}
	return runs
}

// padded is the length that a run gets whose longest text has so many tokens.
func (s shapes) padded(tokens int) int {
	return min((tokens+s.step-1)/s.step*s.step, s.longest)
}

// most is how many texts of a padded length a run takes, of those that are
// left with so many tokens.
func (s shapes) most(length, tokens, texts int) int {
	budget := s.budget
	if s.lanes > 1 {
		budget = min(budget, max(tokens/(2*s.lanes), s.least))
	}
	return min(max(budget/length, 1), s.texts, texts)
}
