package model

import "slices"

// worker is one member of a group.
type worker struct {
	group    int
	position [partitions]int
	batches  []*batch
	// acked are the offsets done, for each partition, beyond the committable.
	acked [partitions][]span
	next  [partitions]int // committable
}

type span struct{ from, to int }

// batch is a micro-batch in flight: what it covers, and the steps that are
// left of it. A step returns false to be tried again.
type batch struct {
	spans [partitions]span
	steps []func() bool
}

// poll takes new records of the partitions that a worker owns.
func (w *world) poll(m *worker) {
	b := &batch{}
	var refs [][2]int
	for p := range partitions {
		b.spans[p] = span{m.position[p], m.position[p]}
		if w.owner[m.group][p] != m {
			continue
		}
		n := min(len(w.log[p])-m.position[p], 1+w.rng.IntN(4))
		for o := m.position[p]; o < m.position[p]+n; o++ {
			refs = append(refs, [2]int{p, o})
		}
		m.position[p] += n
		b.spans[p].to = m.position[p]
	}
	if len(refs) == 0 {
		return
	}
	w.plan(b, refs)
	m.batches = append(m.batches, b)
	if w.mutant == CommitBeforeAck {
		for p := range partitions {
			m.next[p] = max(m.next[p], b.spans[p].to)
		}
		w.commit(m)
	}
}

// plan makes the steps of a batch, as sink.Apply does them.
func (w *world) plan(b *batch, refs [][2]int) {
	var points, bares []point
	var deleted []int
	for _, ref := range refs {
		p, o := ref[0], ref[1]
		r := w.log[p][o]
		version := w.version(p, o)
		if r.poison && (w.mutant != UnboundedVersion || r.version < tooHigh) {
			b.steps = append(b.steps, func() bool { w.dead[ref] = true; return true })
			continue
		}
		pt := point{id: r.chunk, version: version, tomb: r.op != put, value: r.value, partition: p, offset: o}
		switch {
		case r.op == bare && w.mutant == BareDeleteOnTop:
			pt.version = onTop + int64(o)
			points = append(points, pt)
		case r.op == bare:
			bares = append(bares, pt)
		case r.op == delDoc:
			pt.id = docPoint(r.doc)
			points = append(points, pt)
			deleted = append(deleted, r.doc)
		default:
			points = append(points, pt)
		}
	}
	if w.mutant != NoCollapse {
		points = collapse(points)
	}
	scan := func() {
		for _, d := range deleted {
			w.planScan(b, d, points)
		}
	}
	if w.mutant == ScanBeforeTomb {
		scan()
	}
	w.planWrite(b, points)
	if w.mutant != ScanBeforeTomb {
		scan()
	}
	if w.mutant != NoWriterHalf {
		w.planCheck(b, points)
	}
	for _, d := range bares {
		w.planBare(b, d)
	}
}

// collapse keeps the highest version of each id, of equals the first.
func collapse(points []point) []point {
	at := map[int]int{}
	var out []point
	for _, p := range points {
		if i, ok := at[p.id]; !ok {
			at[p.id] = len(out)
			out = append(out, p)
		} else if p.version > out[i].version {
			out[i] = p
		}
	}
	return out
}

// planWrite sends points in one or two requests. In the mutant the client
// reads first and decides itself.
func (w *world) planWrite(b *batch, points []point) {
	for len(points) > 0 {
		n := min(len(points), 1+w.rng.IntN(6))
		r := request{points: points[:n]}
		points = points[n:]
		if w.mutant != CheckThenWrite {
			b.steps = append(b.steps, func() bool { return w.send(r) })
			continue
		}
		var passed request
		b.steps = append(b.steps, func() bool {
			passed = request{}
			for _, p := range r.points {
				if old, ok := w.index[p.id]; !ok || old.version < p.version {
					passed.points = append(passed.points, p)
				}
			}
			return true
		}, func() bool { return w.send(passed) })
	}
}

// later plans a write that is made when its turn comes, from what was read.
func (w *world) later(b *batch, read func() []point) {
	var found []point
	b.steps = append(b.steps,
		func() bool { found = read(); return true },
		func() bool { return len(found) == 0 || w.send(request{points: found, same: true}) })
}

func (w *world) planScan(b *batch, doc int, points []point) {
	i := slices.IndexFunc(points, func(p point) bool { return p.id == docPoint(doc) })
	d := points[i]
	w.later(b, func() []point {
		var found []point
		for id := doc * chunksOfDoc; id < (doc+1)*chunksOfDoc; id++ {
			if p, ok := w.index[id]; ok && p.version > 0 && !p.tomb && p.version < d.version {
				found = append(found, point{id: id, version: d.version - 1, tomb: true, partition: d.partition, offset: d.offset})
			}
		}
		return found
	})
}

func (w *world) planCheck(b *batch, points []point) {
	w.later(b, func() []point {
		var found []point
		for _, p := range points {
			if p.tomb || p.id >= chunks {
				continue
			}
			if d, ok := w.index[docPoint(p.id/chunksOfDoc)]; ok && d.version > p.version {
				found = append(found, point{id: p.id, version: d.version - 1, tomb: true, partition: d.partition, offset: d.offset})
			}
		}
		return collapse(found)
	})
}

func (w *world) planBare(b *batch, d point) {
	w.later(b, func() []point {
		p, ok := w.index[d.id]
		if !ok || p.version == 0 || p.tomb || p.partition != d.partition || p.offset >= d.offset {
			return nil
		}
		d.version = p.version
		return []point{d}
	})
}

// send is a request as the caller sees it: done, or to be tried again.
func (w *world) send(r request) bool {
	outcome := w.rng.IntN(12)
	if outcome > 4 {
		w.apply(r)
		return true
	}
	w.faults++
	switch outcome {
	case 0: // refused at once; everybody notices that
		return false
	case 1: // lost
	case 2: // applied, and the answer lost
		w.apply(r)
	case 3: // applied later, perhaps much later
		w.delayed = append(w.delayed, r)
	case 4: // applied by half
		w.apply(request{points: r.points[:len(r.points)/2], same: r.same})
	}
	return w.mutant == TimeoutIsSuccess
}

// work does the next step of one of a worker's batches.
func (w *world) work(m *worker) {
	if len(m.batches) == 0 {
		return
	}
	i := 0
	if w.parallel {
		i = w.rng.IntN(len(m.batches))
	}
	b := m.batches[i]
	if len(b.steps) > 0 {
		if b.steps[0]() {
			b.steps = b.steps[1:]
		}
		return
	}
	m.batches = slices.Delete(m.batches, i, i+1)
	for p, s := range b.spans {
		if s.to > s.from {
			m.ack(p, s, w.mutant == HighestWatermark)
		}
	}
}

// ack moves the committable offset over the contiguous ones.
func (m *worker) ack(p int, s span, highest bool) {
	if highest {
		m.next[p] = max(m.next[p], s.to)
		return
	}
	m.acked[p] = append(m.acked[p], s)
	for moved := true; moved; {
		moved = false
		for i, a := range m.acked[p] {
			if a.from == m.next[p] {
				m.next[p], moved = a.to, true
				m.acked[p] = slices.Delete(m.acked[p], i, i+1)
				break
			}
		}
	}
}

// commit is refused for partitions that the group has given to another.
func (w *world) commit(m *worker) {
	for p := range partitions {
		if w.owner[m.group][p] == m && m.next[p] > w.commits[m.group][p] {
			w.commits[m.group][p] = m.next[p]
			w.checkCommit(p, m.next[p])
		}
	}
}
