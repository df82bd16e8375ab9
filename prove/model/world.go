package model

import "math/rand/v2"

const (
	partitions  = 3
	maxGroups   = 2
	workers     = 2 // of each group
	chunks      = 6
	chunksOfDoc = 3
	docs        = chunks / chunksOfDoc
	// cdcChunk is fed as a change-data-capture topic is: always on one
	// partition, in order, with versionless tombstones.
	cdcChunk = chunks - 1

	tooHigh = int64(1) << 53
	// onTop is where a fallback version stands beside small counters.
	onTop = int64(1) << 50
)

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
	poison     bool
}

// point ids: 0 … chunks-1 are chunks, docPoint(d) is a document's tombstone.
func docPoint(d int) int { return chunks + d }

// point is what the index holds, or what a request wants it to hold.
type point struct {
	id        int
	version   int64 // 0 in the index: written by somebody else
	tomb      bool
	value     int
	partition int
	offset    int
}

// request is a write on its way. same lets equal versions be replaced.
type request struct {
	points []point
	same   bool
}

// world is the state of a history.
type world struct {
	rng    *rand.Rand
	mutant Mutant

	log       [partitions][]record
	snapshots []record // rows that a backfill has read and not yet written
	counter   [chunks]int64
	lastDoc   [docs]int64
	values    int

	index    map[int]point
	delayed  []request
	dead     map[[2]int]bool // partition, offset
	groups   int             // that read the log into the one index
	commits  [maxGroups][partitions]int
	members  [maxGroups][]*worker
	owner    [maxGroups][partitions]*worker
	parallel bool // batches of a worker may be finished in any order

	faults    int
	violation string
}

// apply is what Qdrant does with a request. Versions are compared as doubles.
func (w *world) apply(r request) {
	blocked := map[int]bool{}
	for _, p := range r.points {
		old, ok := w.index[p.id]
		if !ok || w.mutant == NoFence || w.mutant == CheckThenWrite {
			continue
		}
		stored, wanted := float64(old.version), float64(p.version)
		switch {
		case w.mutant == LowerThanFilter:
			if old.version == 0 || stored >= wanted {
				blocked[p.id] = true
			}
		case old.version == 0:
		case r.same && stored > wanted, !r.same && stored >= wanted:
			blocked[p.id] = true
		}
	}
	for _, p := range r.points {
		if blocked[p.id] {
			continue
		}
		if w.mutant == HardDelete && p.tomb && p.id < chunks {
			delete(w.index, p.id)
			continue
		}
		if old, ok := w.index[p.id]; ok && old.version > p.version {
			w.fail("the stored version fell")
		}
		w.index[p.id] = p
	}
}

func (w *world) fail(what string) {
	if w.violation == "" {
		w.violation = what
	}
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

// check compares the index with the fold.
func (w *world) check() {
	want := w.fold()
	for id := range chunks {
		got := -1
		if p, ok := w.index[id]; ok && !p.tomb && p.version > 0 { // others' points are not ours to judge
			got = p.value
		}
		switch {
		case got == want[id]:
		case want[id] < 0:
			w.fail("a deleted chunk is alive")
		case got < 0:
			w.fail("a chunk is lost")
		default:
			w.fail("a chunk is stale")
		}
	}
}

// checkCommit holds what an offset promises: all records below are covered.
func (w *world) checkCommit(p, offset int) {
	for o := range offset {
		r := w.log[p][o]
		if w.dead[[2]int{p, o}] || r.op == bare {
			continue // what a versionless delete did shows in the end
		}
		id := r.chunk
		if r.op == delDoc {
			id = docPoint(r.doc)
		}
		if stored, ok := w.index[id]; !ok || stored.version < w.version(p, o) {
			w.fail("an offset was committed that nothing covers")
		}
	}
}

// version is what the worker makes of a record's version.
func (w *world) version(p, o int) int64 {
	if w.mutant == OffsetAsVersion {
		return int64(o + 1)
	}
	return w.log[p][o].version
}
