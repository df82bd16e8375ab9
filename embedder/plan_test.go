package embedder

import (
	"math/rand/v2"
	"testing"
)

func TestPlanKeepsItsLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		limits := shapes{budget: 1 + rng.IntN(600), texts: 1 + rng.IntN(40), step: 1 + rng.IntN(9), longest: 256, perRun: rng.IntN(100), lanes: 1 + rng.IntN(4), least: 1 + rng.IntN(100)}
		texts := make([]text, rng.IntN(80))
		for i := range texts {
			texts[i] = text{index: i, ids: make([]int64, 1+rng.IntN(limits.longest))}
		}
		seen := make([]bool, len(texts))
		for _, r := range plan(texts, limits) {
			if len(r.texts) == 0 || len(r.texts) > limits.texts || r.length > limits.longest {
				t.Fatalf("%+v: a run of %d texts × %d", limits, len(r.texts), r.length)
			}
			if r.padded() > limits.budget && len(r.texts) > 1 {
				t.Fatalf("%+v: %d padded tokens", limits, r.padded())
			}
			if r.length%limits.step != 0 && r.length != limits.longest {
				t.Fatalf("%+v: length %d", limits, r.length)
			}
			for _, x := range r.texts {
				if len(x.ids) > r.length || seen[x.index] {
					t.Fatalf("%+v: text %d cut or repeated", limits, x.index)
				}
				seen[x.index] = true
			}
		}
		for i, ok := range seen {
			if !ok {
				t.Fatalf("text %d is in no run", i)
			}
		}
	}
}

// No way to cut the sorted texts within the limits costs less.
func TestNoPlanIsCheaper(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		limits := shapes{budget: 20 + rng.IntN(100), texts: 1 + rng.IntN(6), step: 1 + rng.IntN(4), longest: 20, perRun: rng.IntN(20), lanes: 1}
		texts := make([]text, rng.IntN(12))
		for i := range texts {
			texts[i] = text{index: i, ids: make([]int64, 1+rng.IntN(limits.longest))}
		}
		got := 0
		for _, r := range plan(texts, limits) { // which sorts them
			got += limits.perRun + r.padded()
		}
		var least func(from int) int
		least = func(from int) int {
			if from == len(texts) {
				return 0
			}
			best, length := 1<<30, limits.padded(len(texts[from].ids))
			for n := 1; n <= min(limits.texts, len(texts)-from) && (n == 1 || n*length <= limits.budget); n++ {
				best = min(best, limits.perRun+n*length+least(from+n))
			}
			return best
		}
		if want := least(0); got != want {
			t.Fatalf("%+v: the plan costs %d, the cheapest %d", limits, got, want)
		}
	}
}
