package model

import "slices"

// batch is a micro-batch in flight: what it covers, and the steps that are
// left of it. A step returns false to be tried again.
type batch struct {
	worker *worker // nil: a backfill
	spans  [partitions]span
	steps  []func() bool
	// alone: nothing else may be in flight in this process.
	alone bool
	// encoded: the model has seen it, and the process is still there.
	encoded, killer bool
}

type span struct{ from, to int }

// planBatch makes the steps of a batch, as pipeline and sink do them.
func (w *world) planBatch(b *batch, refs []ref) {
	var points, bares []point
	for _, at := range refs {
		r := w.log[at.partition][at.offset]
		version := w.version(at.partition, at.offset)
		b.killer = b.killer || r.killer
		if r.poison && (w.mutant != UnboundedVersion || r.version < tooHigh) {
			b.steps = append(b.steps, func() bool { return w.letter(at) })
			continue
		}
		pt := point{id: r.chunk, version: version, tomb: r.op != put, value: r.value, partition: at.partition, offset: at.offset}
		switch {
		case r.op == bare && w.mutant == BareDeleteOnTop:
			pt.version = onTop + int64(at.offset)
			points = append(points, pt)
		case r.op == bare:
			bares = append(bares, pt)
		case r.op == delDoc:
			pt.id = docPoint(r.doc)
			points = append(points, pt)
		default:
			points = append(points, pt)
		}
	}
	if w.mutant != NoCollapse {
		points = collapse(points)
	}
	w.planPoints(b, points)
	for _, d := range bares {
		w.planBare(b, d)
	}
}

// planPoints writes states and does what follows from deleted documents. The
// deleter has written the document's tombstone and looks for chunks, the
// writer has written its chunk and looks for the tombstone: whoever looks
// second sees the other.
func (w *world) planPoints(b *batch, points []point) {
	scan := func() {
		for _, p := range points {
			if p.id >= chunks {
				w.planScan(b, p)
			}
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
}

// collapse keeps the highest version of each id, of equals the first.
func collapse(points []point) []point {
	var out []point
	for _, p := range points {
		i := slices.IndexFunc(out, func(o point) bool { return o.id == p.id })
		if i < 0 {
			out = append(out, p)
		} else if p.version > out[i].version {
			out[i] = p
		}
	}
	return out
}

// planWrite sends points in one or several requests. In the mutant the client
// reads first and decides itself.
func (w *world) planWrite(b *batch, points []point) {
	for len(points) > 0 {
		n := min(len(points), 1+w.rng.IntN(6))
		r := write(points[:n], false)
		points = points[n:]
		if w.mutant != CheckThenWrite {
			b.steps = append(b.steps, func() bool { return w.send(b, r) })
			continue
		}
		var passed request
		b.steps = append(b.steps, func() bool {
			passed = request{}
			for _, p := range r.points {
				if old := w.index[p.id]; !old.exists || old.version < p.version {
					passed.points = append(passed.points, p)
				}
			}
			return true
		}, func() bool { return w.send(b, write(passed.points, false)) })
	}
}

// later plans a write that is made when its turn comes, from what was read;
// much may happen between the two.
func (w *world) later(b *batch, read func() []point) {
	var found []point
	b.steps = append(b.steps,
		func() bool { found = read(); w.dawdle(b); return true },
		func() bool { return len(found) == 0 || w.send(b, write(found, true)) })
}

// by is the tombstone of chunk id that the delete d leaves at a version.
func (d point) by(id int, version int64) point {
	return point{id: id, version: version, tomb: true, partition: d.partition, offset: d.offset}
}

func (w *world) planScan(b *batch, d point) {
	doc := d.id - chunks
	w.later(b, func() []point {
		var found []point
		for id := doc * chunksOfDoc; id < (doc+1)*chunksOfDoc; id++ {
			if p := w.index[id]; p.version > 0 && p.version < d.version && !p.tomb {
				found = append(found, d.by(id, d.version-1))
			}
		}
		return found
	})
	w.planSweep(b, doc*chunksOfDoc, (doc+1)*chunksOfDoc)
}

// planSweep drops the vectors of tombstones. Whoever wrote one may have died
// before it dropped the vector, and a delete looks for living chunks only.
func (w *world) planSweep(b *batch, from, to int) {
	if w.mutant == HalfIsWhole {
		return
	}
	var sweep []int
	for id := from; id < to; id++ {
		sweep = append(sweep, id)
	}
	b.steps = append(b.steps, func() bool { return w.send(b, request{drop: sweep}) })
}

func (w *world) planCheck(b *batch, points []point) {
	w.later(b, func() []point {
		var found []point
		for _, p := range points {
			if p.tomb || p.id >= chunks {
				continue
			}
			if d := w.index[docPoint(p.id/chunksOfDoc)]; d.version > p.version {
				found = append(found, d.by(p.id, d.version-1))
			}
		}
		return collapse(found)
	})
}

func (w *world) planBare(b *batch, d point) {
	w.later(b, func() []point {
		p := w.index[d.id]
		if p.version == 0 || p.tomb || p.partition != d.partition || p.offset >= d.offset {
			return nil
		}
		return []point{d.by(d.id, p.version)}
	})
	w.planSweep(b, d.id, d.id+1)
}
