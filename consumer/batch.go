package consumer

import (
	"errors"
	"fmt"
	"slices"

	"chunktide/chunk"
)

// batch is a micro-batch in flight.
type batch struct {
	source *Source
	items  []item
	events []chunk.Event
	owner  []int // the item that each event came from
	spans  []handedOut
	bytes  int64
	acked  bool // guarded by the source's mutex
}

type handedOut struct {
	part *partition
	span *span
}

// cut takes a batch from the former, registers its offsets, and starts to
// write the dead letters of its malformed records. The mutex must be held, so
// that no partition is taken away in between.
func (s *Source) cut(items []item) *held {
	b := &batch{source: s, items: items}
	last, tokens := map[*partition]int{}, map[*partition]int{}
	var order []*partition
	var malformed []deadLetter
	for i := range b.items {
		it := &b.items[i]
		b.bytes += it.bytes
		for range it.events {
			b.owner = append(b.owner, i)
		}
		b.events = append(b.events, it.events...)
		if it.err != nil {
			malformed = append(malformed, deadLetter{record: it.record, skipped: it.skipped, stage: it.stage, err: it.err})
		}
		if _, seen := last[it.part]; !seen {
			order = append(order, it.part)
		}
		last[it.part] = i
		tokens[it.part] += it.tokens
	}
	h := &held{batch: b}
	for _, p := range order {
		first := slices.IndexFunc(b.items, func(it item) bool { return it.part == p })
		if s.cfg.QuarantineAfter > 0 && p.mark(b.items[first].record) {
			h.marked = true
		}
		b.spans = append(b.spans, handedOut{p, p.handOut(b.items[last[p]].record, tokens[p])})
	}
	s.inFlight += b.bytes
	s.open++
	s.notify() // there may be room to read on
	if len(malformed) > 0 {
		h.letters = s.letters.start(s.hard, malformed)
	}
	return h
}

func (b *batch) public() chunk.Batch {
	return chunk.Batch{Events: b.events, Reject: b.reject, Ack: b.ack}
}

// ack marks the batch's offsets as done. Those of an assignment that has ended
// in the meantime count for nothing: the partition's next owner reads them
// again.
func (b *batch) ack() {
	s := b.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.acked {
		return
	}
	b.acked = true
	s.inFlight -= b.bytes
	s.open--
	s.metrics.buffered(s.former.bytes + s.inFlight)
	var durable int64
	for _, h := range b.spans {
		h.span.acked = true
		if h.part.gone {
			continue
		}
		before := h.part.from()
		h.part.advance()
		durable += h.part.from() - before
	}
	s.meter(durable)
	s.notify()
}

// reject writes the records of refused events to the dead letters: one each,
// though several of its events may be refused. It retries until the source is
// closed; any error is fatal and leaves the batch unacknowledged.
func (b *batch) reject(rejections []chunk.Rejection) error {
	letters := make([]deadLetter, 0, len(rejections))
	seen := map[int]bool{}
	for _, r := range rejections {
		if r.Event < 0 || r.Event >= len(b.owner) {
			return fmt.Errorf("reject event %d: the batch has %d", r.Event, len(b.owner))
		}
		if _, ok := chunk.ReasonOf(r.Err); !ok {
			return fmt.Errorf("reject event %d: only a permanent error is a reason: %w", r.Event, r.Err)
		}
		if owner := b.owner[r.Event]; !seen[owner] {
			seen[owner] = true
			letters = append(letters, deadLetter{record: b.items[owner].record, stage: r.Stage, err: r.Err})
		}
	}
	b.source.mu.Lock()
	acked := b.acked
	b.source.mu.Unlock()
	if acked {
		return errors.New("reject events: the batch was acknowledged already")
	}
	return b.source.letters.write(b.source.hard, letters)
}
