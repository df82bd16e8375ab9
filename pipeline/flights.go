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

// flight is one text on its way to a vector. The embedding may be read when
// done is closed; it has no vector if none was found, or if none was needed.
type flight struct {
	done      chan struct{}
	embedding chunk.Embedding
}

// claim makes the caller the one who finds the vector of a text, which it must
// land, unless somebody else is at it: then it returns that flight.
func (f *flights) claim(h chunk.Hash) (other *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, taken := f.now[h]; taken {
		return other
	}
	if f.now == nil {
		f.now = map[chunk.Hash]*flight{}
	}
	f.now[h] = &flight{done: make(chan struct{})}
	return nil
}

// land ends what the caller claimed, and wakes those who wait for it.
func (f *flights) land(h chunk.Hash, e chunk.Embedding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine := f.now[h]
	delete(f.now, h)
	mine.embedding = e
	close(mine.done)
}

// vectors finds a vector for each text: among those of this batch, or with the
// batch that is looking for it at this moment, or else by itself.
func (p *Pipeline) vectors(ctx context.Context, w *work, texts []text) error {
	var open []int
	for i := range texts {
		if e, ok := w.known[texts[i].hash]; ok {
			texts[i].embedding = e
		} else {
			open = append(open, i)
		}
	}
	for len(open) > 0 {
		var mine []int
		others := map[int]*flight{}
		for _, i := range open {
			if f := p.flights.claim(texts[i].hash); f != nil {
				others[i] = f
			} else {
				mine = append(mine, i)
			}
		}
		// Nobody waits while he holds a claim, so nobody waits for ever.
		err := p.find(ctx, w, texts, mine)
		for _, i := range mine {
			p.flights.land(texts[i].hash, texts[i].embedding)
		}
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
		if f.embedding.Vector == nil {
			left = append(left, i)
		} else {
			w.learn(&texts[i], f.embedding, len(texts[i].states))
		}
	}
	slices.Sort(left)
	return left, nil
}
