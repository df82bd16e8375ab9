package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"chunktide/chunk"
)

// sampler chooses some of many points, each with the same chance, without
// knowing how many there are (reservoir sampling, Vitter's algorithm R).
type sampler struct {
	size, offered int
	rng           *rand.Rand
	chosen        []held
}

func newSampler(size int, seed uint64) sampler {
	return sampler{size: size, rng: rand.New(rand.NewPCG(seed, 1))}
}

func (s *sampler) offer(h held) {
	s.offered++
	if len(s.chosen) < s.size {
		s.chosen = append(s.chosen, h)
	} else if i := s.rng.IntN(s.offered); i < s.size {
		s.chosen[i] = h
	}
}

// sampleBatch is how many texts of the sample are in memory at once.
const sampleBatch = 32

// compareSample encodes the stored texts of some points again and holds the
// stored vectors against them.
func (l *look) compareSample(ctx context.Context) error {
	l.report.LeastCosine = 1
	for part := range slices.Chunk(l.sample.chosen, sampleBatch) {
		ids := make([]chunk.ID, len(part))
		for i := range part {
			ids[i] = part[i].id
		}
		stored, err := l.Index.Read(ctx, ids, true)
		if err != nil {
			return err
		}
		var texts []string
		var asked []*held
		for i := range part {
			h := &part[i]
			st, ok := stored[h.id]
			switch {
			case !ok || st.Tombstone || st.Version != h.version || st.Hash != h.hash:
				// It has changed meanwhile.
			case chunk.HashText(st.Text) != st.Hash:
				l.force(h.id, forced{kind: Stale, seen: st, doc: h.doc})
			case len(st.Embedding.Vector) > 0: // one that has none is found by the survey
				texts, asked = append(texts, st.Text), append(asked, h)
			}
		}
		if err := l.compareVectors(ctx, texts, asked, stored); err != nil {
			return err
		}
	}
	return nil
}

func (l *look) compareVectors(ctx context.Context, texts []string, asked []*held, stored map[chunk.ID]chunk.Stored) error {
	if len(texts) == 0 {
		return nil
	}
	embeddings, err := l.Encoder.Encode(ctx, texts)
	var refused *chunk.Rejected
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	if len(embeddings) != len(texts) {
		return fmt.Errorf("the encoder returned %d vectors for %d texts", len(embeddings), len(texts))
	}
	for i, h := range asked {
		if embeddings[i].Vector == nil {
			continue // refused today: there is nothing to compare with
		}
		l.report.Sampled++
		st := stored[h.id]
		c := cosine(st.Embedding.Vector, embeddings[i].Vector)
		l.report.LeastCosine = min(l.report.LeastCosine, c)
		if c < l.o.MinCosine {
			l.force(h.id, forced{kind: Misassigned, cosine: c, seen: st, doc: h.doc})
		}
	}
	return nil
}

// cosine is -1 where it is not defined.
func cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		return -1
	}
	var dot, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	if c := dot / math.Sqrt(aa*bb); !math.IsNaN(c) {
		return max(-1, min(1, c))
	}
	return -1
}
