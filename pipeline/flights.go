package pipeline

import (
	"context"
	"slices"
	"sync"

	"chunktide/chunk"
)

// flights are the texts whose vectors are being found, so that two batches
// which are prepared at once never pay for the same text twice. The zero value
// is ready for use.
type flights struct {
	mu  sync.Mutex
	now map[chunk.Hash]*flight
}

// flight is one search for the vectors of some texts. What it found may be
// read when done is closed; a text that is not there got no vector, or needed
// none.
type flight struct {
	done  chan struct{}
	found map[chunk.Hash]chunk.Embedding
}

// claim adds a text to a flight, unless another has it: then it returns that
// one.
func (f *flights) claim(h chunk.Hash, mine *flight) (other *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, taken := f.now[h]; taken {
		return other
	}
	if f.now == nil {
		f.now = map[chunk.Hash]*flight{}
	}
	f.now[h] = mine
	return nil
}

// land ends a flight, with what it found for those of the texts that it has,
// and wakes those who wait for it.
func (f *flights) land(mine *flight, texts []text, claimed []int) {
	mine.found = make(map[chunk.Hash]chunk.Embedding, len(claimed))
	for _, i := range claimed {
		if t := &texts[i]; t.embedding.Vector != nil {
			mine.found[t.hash] = t.embedding
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range claimed {
		delete(f.now, texts[i].hash)
	}
	close(mine.done)
}

// vectors finds a vector for each text: among those of this batch, or with the
// batch that is looking for it at this moment, or else by itself.
func (p *Pipeline) vectors(ctx context.Context, w *work, texts []text) error {
	var open []int
	for i := range texts {
		if e, ok := w.known[texts[i].hash]; ok {
			texts[i].embedding, texts[i].origin = e, fromBatch
		} else {
			open = append(open, i)
		}
	}
	for len(open) > 0 {
		f := &flight{done: make(chan struct{})}
		claimed := make([]int, 0, len(open))
		others := map[int]*flight{}
		for _, i := range open {
			if other := p.flights.claim(texts[i].hash, f); other != nil {
				others[i] = other
			} else {
				claimed = append(claimed, i)
			}
		}
		// Nobody waits while he holds a claim, so nobody waits for ever.
		err := p.find(ctx, w, texts, claimed)
		p.flights.land(f, texts, claimed)
		if err != nil {
			return err
		}
		if open, err = w.join(ctx, texts, others); err != nil {
			return err
		}
	}
	return nil
}

// join waits for what other batches are looking for, and returns the texts
// that they did not find a vector for.
func (w *work) join(ctx context.Context, texts []text, others map[int]*flight) (left []int, err error) {
	for i, f := range others {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if e, ok := f.found[texts[i].hash]; ok {
			w.learn(&texts[i], e, fromBatch, len(texts[i].states))
		} else {
			left = append(left, i)
		}
	}
	slices.Sort(left)
	return left, nil
}
