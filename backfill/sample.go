package backfill

import (
	"math/rand/v2"
)

// Sample keeps some of many texts, each with the same chance, in the memory
// that those few take: what a rate is measured with.
type Sample struct {
	// Texts are the kept ones, in no order.
	Texts []string

	size int
	seen int
	rng  *rand.Rand
}

// NewSample keeps so many.
func NewSample(size int) *Sample {
	return &Sample{size: size, rng: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // a draw, not a secret
}

// Add offers a text.
func (s *Sample) Add(text string) {
	s.seen++
	if len(s.Texts) < s.size {
		s.Texts = append(s.Texts, text)
		return
	}
	if i := s.rng.IntN(s.seen); i < s.size {
		s.Texts[i] = text
	}
}
