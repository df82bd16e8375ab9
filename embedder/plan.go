package embedder

import (
	"cmp"
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
	// lanes is how many runs go on at once, and least the budget down to which
	// a call's last runs shrink so that all lanes end together.
	lanes, least int
}

// within are the limits with a budget of at most bound.
func (s shapes) within(bound int) shapes {
	s.budget, s.least = min(s.budget, bound), min(s.least, bound)
	return s
}

// plan cuts texts into runs: longest first, so that neighbours are of like
// length, and as many to a run as the limits allow; a text longer than the
// budget goes alone. The texts are sorted in place.
//
// The runs shrink towards the end (guided self-scheduling, Polychronopoulos and
// Kuck 1987): none takes more than half of a lane's share of what is left. So
// no lane is idle for long while another works on the call's last run, and a
// call of few texts uses all lanes.
func plan(texts []text, limits shapes) []run {
	slices.SortStableFunc(texts, func(a, b text) int { return cmp.Compare(len(b.ids), len(a.ids)) })
	left := 0
	for _, t := range texts {
		left += len(t.ids)
	}
	var runs []run
	for len(texts) > 0 {
		length := (len(texts[0].ids) + limits.step - 1) / limits.step * limits.step
		length = min(length, limits.longest)
		budget := limits.budget
		if limits.lanes > 1 {
			budget = min(budget, max(left/(2*limits.lanes), limits.least))
		}
		n := min(max(budget/length, 1), limits.texts, len(texts))
		runs = append(runs, run{texts: texts[:n], length: length})
		for _, t := range texts[:n] {
			left -= len(t.ids)
		}
		texts = texts[n:]
	}
	return runs
}
