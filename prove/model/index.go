package model

// point is what the index holds, or what a request wants it to hold.
type point struct {
	id      int
	exists  bool
	version int64 // 0 in the index: written by somebody else
	tomb    bool
	vector  bool
	value   int
	// partition and offset tell which record it came from.
	partition, offset int
}

// request is a write on its way: upserts under the fence, then the vectors of
// those ids are dropped that are tombstones. same lets equal versions be
// replaced.
type request struct {
	points []point
	same   bool
	drop   []int
}

// write is a request that upserts points, and drops what their tombstones
// leave.
func write(points []point, same bool) request {
	r := request{points: points, same: same}
	for _, p := range points {
		if p.tomb {
			r.drop = append(r.drop, p.id)
		}
	}
	return r
}

// apply is what Qdrant does with a request. Versions are compared as doubles.
func (w *world) apply(r request) {
	var blocked [ids]bool
	for _, p := range r.points {
		blocked[p.id] = w.holdsBack(w.index[p.id], p, r.same)
	}
	for _, p := range r.points {
		if !blocked[p.id] {
			w.store(p)
		}
	}
	for _, id := range r.drop {
		if w.mutant != VectorKept && (w.index[id].tomb || w.mutant == DropWhateverIs) {
			w.index[id].vector = false
		}
	}
}

// holdsBack is the fence.
func (w *world) holdsBack(old, p point, same bool) bool {
	stored, wanted := float64(old.version), float64(p.version)
	switch {
	case !old.exists, w.mutant == NoFence, w.mutant == CheckThenWrite:
		return false
	case w.mutant == LowerThanFilter:
		return old.version == 0 || stored >= wanted
	case old.version == 0:
		return false
	case same:
		return stored > wanted
	default:
		return stored >= wanted
	}
}

// store replaces a point. One that is upserted without a vector keeps the one
// it had, as up to 1.18 in an optimised segment.
func (w *world) store(p point) {
	old := w.index[p.id]
	if old.exists && old.version > p.version {
		w.fail("the stored version fell")
	}
	p.exists, p.vector = true, !p.tomb || old.vector
	if w.mutant == HardDelete && p.tomb && p.id < chunks {
		p = point{id: p.id}
	}
	w.index[p.id] = p
	if w.index[p.id].version < w.owed[p.id] {
		w.fail("what a committed offset promised is gone")
	}
}

// send is a request as the caller sees it: done, or to be tried again.
func (w *world) send(b *batch, r request) bool {
	outcomes := 20
	if r.same && w.fading {
		outcomes = 14
	}
	half := request{points: r.points[:len(r.points)/2], same: r.same}
	torn := request{points: r.points, same: r.same} // nothing dropped
	switch w.rng.IntN(outcomes) {
	case 0: // everybody notices that
		w.faults.Refused++
		return false
	case 1:
		w.faults.Lost++
	case 2:
		w.faults.AnswerLost++
		w.apply(r)
	case 3: // perhaps much later
		w.faults.Late++
		w.delayed = append(w.delayed, r)
	case 4:
		w.faults.Half++
		w.apply(half)
	case 5:
		w.faults.Torn++
		w.apply(torn)
	case 6: // whoever sent it dies, and the server gives up half way
		if m := b.worker; m != nil && w.mayKill(m) && (!w.calm || w.one(4)) {
			w.faults.Crashes++
			w.apply(torn)
			w.die(m)
		}
		return false
	default:
		w.apply(r)
		return true
	}
	return w.mutant == TimeoutIsSuccess
}

// deliver lets a delayed request arrive.
func (w *world) deliver() {
	if len(w.delayed) == 0 {
		return
	}
	i := w.rng.IntN(len(w.delayed))
	r := w.delayed[i]
	w.delayed = append(w.delayed[:i:i], w.delayed[i+1:]...)
	w.apply(r)
}

// letter writes a dead letter; false if it is to be tried again.
func (w *world) letter(r ref) bool {
	switch w.rng.IntN(6) {
	case 0:
		w.faults.LetterLost++
		return w.mutant == LetterUnawaited
	case 1:
		w.faults.LetterLost++
		w.letters[r] = true
		return false
	}
	w.letters[r] = true
	return true
}
