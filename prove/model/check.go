package model

// checkCommit holds what an offset promises: all records below are covered,
// and stay so.
func (w *world) checkCommit(g, p, offset int) {
	for o := w.promised[g][p]; o < offset; o++ {
		r := w.log[p][o]
		if w.letters[ref{g, p, o}] || r.op == bare {
			continue // what a versionless delete did shows in the end
		}
		id := r.chunk
		if r.op == delDoc {
			id = docPoint(r.doc)
		}
		v := w.version(p, o)
		if w.index[id].version < v {
			w.fail("an offset was committed that nothing covers")
		}
		w.owed[id] = max(w.owed[id], v)
	}
	w.promised[g][p] = max(w.promised[g][p], offset)
}

// quarantine judges the dead letter of a record that is said to kill. It is
// fair if as many workers as it takes did die at it.
func (w *world) quarantine(at ref, fair bool) {
	r := w.log[at.partition][at.offset]
	w.faults.Quarantined++
	switch {
	case r.killer:
	case w.deadly && fair:
		w.faults.Unlucky++
		for c := r.doc * chunksOfDoc; c < (r.doc+1)*chunksOfDoc; c++ {
			w.excused[c] = w.excused[c] || r.op == delDoc || c == r.chunk
		}
	default:
		w.fail("an innocent record was put in quarantine")
	}
}

// mayKill says whether the world may end this process without a word. Unless
// it is deadly it stops one short of what looks like a record's fault.
func (w *world) mayKill(m *worker) bool {
	for p := range partitions {
		if !w.deadly && w.owner[m.group][p] == m && w.deaths[m.group][p]+1 >= w.limit {
			return false
		}
	}
	return true
}

// check compares the index with the fold, when all is over.
func (w *world) check() {
	if !w.level() {
		w.fail("a partition does not go on")
	}
	want := w.fold()
	for id := range chunks {
		p := w.index[id]
		got := -1
		if !p.tomb && p.version > 0 { // others' points are not ours to judge
			got = p.value
		}
		switch {
		case w.excused[id]:
		case got != want[id] && want[id] < 0:
			w.fail("a deleted chunk is alive")
		case got != want[id] && got < 0:
			w.fail("a chunk is lost")
		case got != want[id]:
			w.fail("a chunk is stale")
		case p.tomb && p.vector:
			w.fail("a deleted chunk is still found by its vector")
		case got >= 0 && !p.vector:
			w.fail("a chunk has lost its vector")
		}
	}
}
