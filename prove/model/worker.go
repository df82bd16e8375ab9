package model

import "slices"

// worker is one process: what it believes of its partitions, and what it has
// in flight.
type worker struct {
	group   int
	gone    bool // the process ended
	parts   [partitions]assignment
	batches []*batch
	// until is when it is heard of again.
	until int
}

// assignment is one partition in a worker's hands.
type assignment struct {
	owned bool
	// first and found are the commit that it began at.
	first, found int
	// doubt is where the careful mode ends.
	doubt    int
	begun    bool // an attempt was noted, so batches may follow
	position int  // of the next record to take
	next     int  // committable
	told     int  // committed, as far as it knows
	acked    []span
	// suspect: an attempt at a single record was, or may have been, committed,
	// and that it went well is not committed yet.
	suspect bool
	// deaths are what the judge knows of those that the count stands for.
	deaths int
}

// base is the count that stands at an offset if this attempt is left out.
func (a *assignment) base(offset int) int {
	if offset == a.first {
		return a.found
	}
	return 0
}

// doubtful says that the next record must be handled by itself.
func (w *world) doubtful(m *worker, p int) bool {
	a := &m.parts[p]
	return a.owned && a.position < a.doubt && a.position < len(w.log[p]) && w.mutant != NoSuspicion
}

// poll takes new records of the partitions that a worker owns: either one
// under suspicion, with nothing else in flight, or some of all the others.
func (w *world) poll(m *worker) {
	if len(m.batches) > 0 && m.batches[0].alone {
		return
	}
	var suspects []int
	for p := range partitions {
		if a := &m.parts[p]; a.suspect && w.mutant != NotCleared {
			// Else it would pay for what comes next.
			if a.next > a.told {
				w.commit(m)
			} else {
				w.pollAlone(m, p)
			}
			return
		}
		if w.doubtful(m, p) {
			suspects = append(suspects, p)
		}
	}
	if w.mutant != NotAlone && len(suspects) > 0 && len(m.batches) == 0 {
		w.pollAlone(m, suspects[w.rng.IntN(len(suspects))])
		return
	}
	b := &batch{worker: m}
	var refs []ref
	for p := range partitions {
		n := 1 + w.rng.IntN(4)
		if w.doubtful(m, p) {
			if n = 1; w.mutant != NotAlone || m.inFlight(p) {
				continue
			}
		}
		refs = append(refs, w.take(m, b, p, n)...)
	}
	w.begin(m, b, refs)
}

func (w *world) pollAlone(m *worker, p int) {
	b := &batch{worker: m, alone: true}
	refs := w.take(m, b, p, 1)
	m.parts[p].suspect = m.parts[p].owned
	w.begin(m, b, refs)
}

func (w *world) begin(m *worker, b *batch, refs []ref) {
	if len(refs) > 0 {
		w.planBatch(b, refs)
	}
	if len(b.steps) == 0 && len(refs) == 0 {
		return
	}
	m.batches = append(m.batches, b)
	if w.mutant == CommitBeforeAck {
		for p, s := range b.spans {
			m.parts[p].next = max(m.parts[p].next, s.to)
		}
		w.commit(m)
	}
}

// take moves up to n records of a partition into a batch, once the attempt is
// noted. At the limit the head goes to the dead letters instead.
func (w *world) take(m *worker, b *batch, p, n int) []ref {
	a := &m.parts[p]
	n = min(n, len(w.log[p])-a.position)
	if !a.owned || n <= 0 {
		return nil
	}
	head := ref{m.group, p, a.position}
	if a.position == a.first && a.found >= w.limit {
		if w.mutant != WholeBatchOut {
			n = 1
		} else {
			n = min(3, len(w.log[p])-a.position)
		}
		for i := range n {
			out := ref{m.group, p, head.offset + i}
			fair := a.deaths >= w.limit && i == 0
			b.steps = append(b.steps, func() bool { w.quarantine(out, fair); return w.letter(out) })
		}
		a.begun = true
		b.spans[p] = m.advance(p, n)
		return nil
	}
	if (!a.begun || w.doubtful(m, p)) && !w.note(m, p) {
		return nil
	}
	a.begun = true
	b.spans[p] = m.advance(p, n)
	var refs []ref
	for o := b.spans[p].from; o < b.spans[p].to; o++ {
		refs = append(refs, ref{m.group, p, o})
	}
	return refs
}

func (m *worker) advance(p, n int) span {
	a := &m.parts[p]
	a.position += n
	return span{a.position - n, a.position}
}

func (m *worker) inFlight(p int) bool {
	return slices.ContainsFunc(m.batches, func(b *batch) bool { return b.spans[p].to > b.spans[p].from })
}

// work does the next step of one of a worker's batches. The model looks at a
// batch while the one before it is being written.
func (w *world) work(m *worker) {
	if len(m.batches) == 0 {
		return
	}
	i := 0
	if w.parallel || !m.batches[len(m.batches)-1].encoded {
		i = w.rng.IntN(len(m.batches))
	}
	b := m.batches[i]
	switch {
	case !b.encoded:
		b.encoded = true
		if b.killer {
			w.faults.Killed++
			w.die(m)
		}
	case i > 0 && !w.parallel: // first in, first out
	case len(b.steps) > 0:
		if b.steps[0]() {
			b.steps = b.steps[1:]
		}
	default:
		m.batches = slices.Delete(m.batches, i, i+1)
		for p, s := range b.spans {
			if s.to > s.from {
				m.parts[p].ack(s, w.mutant == HighestWatermark)
			}
		}
	}
}

// ack moves the committable offset over the contiguous ones.
func (a *assignment) ack(s span, highest bool) {
	if highest {
		a.next = max(a.next, s.to)
		return
	}
	a.acked = append(a.acked, s)
	for moved := true; moved; {
		moved = false
		for i, s := range a.acked {
			if s.from == a.next {
				a.next, moved = s.to, true
				a.acked = slices.Delete(a.acked, i, i+1)
				break
			}
		}
	}
}
