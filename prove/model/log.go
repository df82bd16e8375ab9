package model

type op uint8

const (
	put op = iota
	del
	delDoc
	bare // a delete without a version
)

// record is one event in the log. chunk is -1 for a document's delete.
type record struct {
	op         op
	chunk, doc int
	version    int64
	value      int
	// poison cannot be applied; a killer cannot even be looked at.
	poison, killer bool
}

// produce appends an event to the log: an edit, a delete, or one of the
// things that producers do wrong.
func (w *world) produce() {
	c := w.rng.IntN(chunks)
	p := c % partitions
	fades := w.fading && (w.left < 6 || w.one(3))
	if c == cdcChunk {
		if (fades || w.one(4)) && !w.parallel {
			w.log[p] = append(w.log[p], record{op: bare, chunk: c, doc: c / chunksOfDoc})
			return
		}
		w.log[p] = append(w.log[p], w.edit(c, put))
		return
	}
	if w.one(5) {
		p = w.rng.IntN(partitions) // keyed otherwise than before
	}
	if fades {
		w.deleteDocument(c, p)
		return
	}
	switch w.rng.IntN(13) {
	case 0:
		w.deleteDocument(c, p)
	case 1: // twice
		r := w.edit(c, put)
		w.log[p] = append(w.log[p], r, r)
	case 2: // in the wrong order
		first, second := w.edit(c, put), w.edit(c, put)
		w.log[p] = append(w.log[p], second, first)
	case 3: // nobody can apply it
		r := w.edit(c, put)
		r.poison = true
		w.log[p] = append(w.log[p], r)
	case 4: // a version that a double cannot hold, and its neighbour
		for i := range int64(2) {
			w.values++
			w.log[p] = append(w.log[p], record{op: put, chunk: c, doc: c / chunksOfDoc, version: tooHigh + i, value: w.values, poison: true})
		}
	case 5, 6:
		w.log[p] = append(w.log[p], w.edit(c, del))
	case 7: // nobody survives it
		if w.one(2) {
			r := w.edit(c, put)
			r.poison, r.killer = true, true
			w.log[p] = append(w.log[p], r)
		}
	default:
		w.log[p] = append(w.log[p], w.edit(c, put))
	}
}

// deleteDocument deletes the document of a chunk, above everything that its
// chunks have now. An edit may come just before, for somebody else to read.
func (w *world) deleteDocument(c, p int) {
	d := c / chunksOfDoc
	if w.one(2) {
		other := w.rng.IntN(partitions)
		w.log[other] = append(w.log[other], w.edit(c, put))
	}
	v := w.lastDoc[d]
	for i := d * chunksOfDoc; i < (d+1)*chunksOfDoc; i++ {
		v = max(v, w.counter[i])
	}
	w.lastDoc[d] = v + 1
	w.log[p] = append(w.log[p], record{op: delDoc, chunk: -1, doc: d, version: v + 1})
}

// edit is the next state of a chunk.
func (w *world) edit(c int, o op) record {
	w.values++
	w.counter[c] = max(w.counter[c], w.lastDoc[c/chunksOfDoc]-1) + 1 + int64(w.rng.IntN(2))
	return record{op: o, chunk: c, doc: c / chunksOfDoc, version: w.counter[c], value: w.values}
}

// version is what the worker makes of a record's version.
func (w *world) version(p, o int) int64 {
	if w.mutant == OffsetAsVersion {
		return int64(o + 1)
	}
	return w.log[p][o].version
}

// fold is what the index must hold in the end: the living value of each
// chunk, or -1.
func (w *world) fold() [chunks]int {
	var out [chunks]int
	var best [chunks]int64
	var deleted [docs]int64
	for i := range out {
		out[i] = -1
	}
	see := func(r record) {
		switch {
		case r.poison:
		case r.op == delDoc:
			deleted[r.doc] = max(deleted[r.doc], r.version)
		case r.op == bare:
			out[r.chunk] = -1
		case r.version > best[r.chunk]:
			best[r.chunk], out[r.chunk] = r.version, r.value
			if r.op == del {
				out[r.chunk] = -1
			}
		}
	}
	for p := range w.log {
		for _, r := range w.log[p] {
			see(r)
		}
	}
	for i := range out {
		if best[i] < deleted[i/chunksOfDoc] {
			out[i] = -1
		}
	}
	return out
}
