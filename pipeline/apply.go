package pipeline

import (
	"context"
	"fmt"

	"chunktide/chunk"
)

// settle makes a batch durable, mostly in one round. What the index refuses is rejected, and the
// batch prepared again without it, so that the state before the refused one
// is not lost; applying the others twice does no harm.
func (p *Pipeline) settle(ctx context.Context, w *work) error {
	for {
		refused, err := p.applyOnce(ctx, w)
		if err != nil {
			return err
		}
		if len(refused) > 0 {
			if err := p.reject(w, refused); err != nil {
				return err
			}
		} else if w.keep(); !w.nextRound() {
			return nil
		}
		if err := p.prepare(ctx, w); err != nil {
			return err
		}
	}
}

// keep notes that the points of this round are durable.
func (w *work) keep() {
	if w.stored == nil {
		w.stored = w.points // the next round makes a slice of its own
		return
	}
	w.stored = append(w.stored, w.points...)
}

// nextRound leaves only the deferred events to be done; false without any.
func (w *work) nextRound() bool {
	if len(w.deferred) == 0 {
		return false
	}
	for i := range w.done {
		w.done[i] = true
	}
	for _, i := range w.deferred {
		w.done[i] = false
	}
	return true
}

func (p *Pipeline) applyOnce(ctx context.Context, w *work) ([]chunk.Rejection, error) {
	refused, err := p.fillUnchanged(ctx, w)
	if err != nil || len(refused) > 0 {
		return refused, err
	}
	culprits, err := p.indexRefusals.bisect(len(w.points), func(item int) string { return w.points[item].Text }, func(items []int) error {
		points := w.points
		if len(items) < len(points) {
			points = make([]chunk.Point, len(items))
			for k, item := range items {
				points[k] = w.points[item]
			}
		}
		return p.guard("the index", func() error { return p.sink.Apply(ctx, points) })
	})
	if err != nil {
		return nil, fmt.Errorf("store %d points: %w", len(w.points), err)
	}
	for item, cause := range culprits {
		refused = append(refused, rejection(w.from[item], "index", cause))
	}
	return refused, nil
}

// fillUnchanged gives the updates that came without their text the text and
// vector of the state before them. It runs when all earlier batches are
// durable, hence that state is in the index if it is anywhere.
func (p *Pipeline) fillUnchanged(ctx context.Context, w *work) ([]chunk.Rejection, error) {
	if len(w.unchanged) == 0 {
		return nil, nil
	}
	ids := make([]chunk.ID, len(w.unchanged))
	for k, i := range w.unchanged {
		ids[k] = w.points[i].ID
	}
	stored, err := p.sink.Read(ctx, ids, true)
	if err != nil {
		return nil, fmt.Errorf("read %d unchanged texts from the index: %w", len(ids), err)
	}
	var refused []chunk.Rejection
	var again []int
	drop := map[int]bool{}
	for _, i := range w.unchanged {
		point := &w.points[i]
		switch st, ok := stored[point.ID]; {
		case ok && st.Version >= point.Version:
			w.outcomes[w.from[i]] = stale
			drop[i] = true
		case ok && st.Foreign && st.Text != "":
			point.Text, point.Hash = st.Text, st.Hash
			again = append(again, i)
		case !ok || st.Tombstone || st.Embedding.Vector == nil:
			refused = append(refused, rejection(w.from[i], "encode", errTextUnavailable))
		default:
			point.Text, point.Hash, point.Embedding = st.Text, st.Hash, st.Embedding
			w.tokensSaved += st.Embedding.Tokens
		}
	}
	w.unchanged = nil
	more, err := p.encodeAgain(ctx, w, again)
	if err != nil {
		return nil, err
	}
	refused = append(refused, more...)
	points, from := w.points, w.from
	w.points, w.from = nil, nil
	for i := range points {
		if !drop[i] {
			w.add(points[i], from[i])
		}
	}
	return refused, nil
}

// encodeAgain gives points their vectors whose text stands in the index with
// the vector of an older model.
func (p *Pipeline) encodeAgain(ctx context.Context, w *work, points []int) (refused []chunk.Rejection, err error) {
	var texts []text
	at := map[chunk.Hash]int{}
	for _, i := range points {
		point := &w.points[i]
		k, seen := at[point.Hash]
		if !seen {
			k = len(texts)
			at[point.Hash] = k
			texts = append(texts, text{value: point.Text, hash: point.Hash})
		}
		texts[k].states = append(texts[k].states, candidate{event: w.from[i], text: w.from[i]})
	}
	if err := p.vectors(ctx, w, texts); err != nil {
		return nil, err
	}
	for _, i := range points {
		t := &texts[at[w.points[i].Hash]]
		if w.points[i].Embedding = t.embedding; t.err != nil {
			refused = append(refused, rejection(w.from[i], "encode", t.err))
		}
	}
	return refused, nil
}

// reject sends events of a batch to the dead letters.
func (p *Pipeline) reject(w *work, refused []chunk.Rejection) error {
	if err := w.batch.Reject(refused); err != nil {
		return fmt.Errorf("write %d dead letters: %w", len(refused), err)
	}
	for _, r := range refused {
		w.outcomes[r.Event] = rejected
		reason, _ := chunk.ReasonOf(r.Err)
		e := &w.batch.Events[r.Event]
		p.logger.Warn("event sent to the dead letters", "stage", r.Stage, "reason", string(reason), "error", r.Err,
			"topic", e.Origin.Topic, "partition", e.Origin.Partition, "offset", e.Origin.Offset)
	}
	return nil
}
