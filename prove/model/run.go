package model

import (
	"math/rand/v2"
	"slices"
)

// Result tells of one history.
type Result struct {
	// Violation is empty if all invariants held.
	Violation string
	// Events were produced.
	Events int
	Faults Faults
	// Fingerprint differs, almost surely, for two histories that differ
	// anywhere.
	Fingerprint uint64
}

// Faults counts what was done to a history, by kind.
type Faults struct {
	// Requests to the index.
	Refused, Lost, AnswerLost, Late, Half, Torn int
	// Kafka.
	CommitLost, LetterLost, Rebalanced, Replays int
	// Processes: ended from outside, by a record, by an error; sessions lost;
	// processes that were silent for a while; backfills that began again.
	Crashes, Killed, Fatal, Sessions, Pauses, Backfills int
	// Quarantined counts the records judged to kill, Unlucky those among them
	// that the world had only made look so.
	Quarantined, Unlucky int
}

// Run runs the history of a seed. It is deterministic.
func Run(seed uint64, mutant Mutant) Result {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 42)), mutant: mutant, letters: map[ref]bool{},
		parallel: seed%2 == 0, groups: 1 + int(seed/2%maxGroups), deadly: seed/4%4 == 0, limit: 2 + int(seed/16%2), fading: seed/2%4 == 2,
	}
	for id := range w.index {
		w.index[id].id = id
		// Somebody else's points: no version.
		if w.one(6) && id < cdcChunk {
			w.index[id] = point{id: id, exists: true, vector: true, value: -2}
		}
	}
	for g := range w.groups {
		for i := range w.members[g] {
			w.members[g][i] = &worker{group: g}
		}
		w.deal(g)
	}
	w.left = 20 + w.rng.IntN(30)
	for range 12 * w.left {
		w.step()
	}
	w.finish()
	r := Result{Violation: w.violation, Faults: w.faults, Fingerprint: w.rng.Uint64()}
	for p := range w.log {
		r.Events += len(w.log[p])
	}
	return r
}

// step does one thing, anywhere.
func (w *world) step() {
	w.now++
	m := w.anyone()
	if m.until > w.now {
		return
	}
	switch w.rng.IntN(24) {
	case 0, 1, 2:
		if w.left > 0 {
			w.left--
			w.produce()
		}
	case 3:
		if !w.calm {
			w.readRow()
		}
	case 4:
		w.beginLoad()
	case 5, 6, 7:
		if len(m.batches) < 3 {
			w.poll(m)
		}
	case 8, 9:
		w.commit(m)
	case 10:
		w.deliver()
	case 11:
		if !w.calm {
			w.disturb()
		}
	case 12, 13:
		w.load()
	case 14:
		if w.one(8) && !w.calm {
			w.pause(m, 200)
		}
	default:
		w.work(m)
	}
}

// pause silences a process for some steps.
func (w *world) pause(m *worker, atMost int) {
	w.faults.Pauses++
	m.until = w.now + w.rng.IntN(atMost)
}

// dawdle silences a process at the worst of times: it has read, and has not
// yet written.
func (w *world) dawdle(b *batch) {
	if b.worker != nil && w.fading && w.one(2) {
		w.pause(b.worker, 60)
	}
}

// anyone is a member or a zombie of any group.
func (w *world) anyone() *worker {
	g := w.rng.IntN(w.groups)
	if i := w.rng.IntN(workers + maxZombies); i >= workers && i-workers < len(w.zombies[g]) {
		return w.zombies[g][i-workers]
	}
	return w.members[g][w.rng.IntN(workers)]
}

// disturb does something to a group.
func (w *world) disturb() {
	g := w.rng.IntN(w.groups)
	m := w.members[g][w.rng.IntN(workers)]
	switch w.rng.IntN(16) {
	case 0:
		if w.mayKill(m) {
			w.faults.Crashes++
			w.die(m)
		}
	case 1:
		if w.mayKill(m) {
			w.faults.Sessions++
			w.lose(m)
		}
	case 2, 3:
		w.rebalance(g)
	case 4:
		w.quit(m)
	case 5:
		if w.one(4) {
			w.reset(g)
		}
	case 6:
		if w.deadly { // and nothing gets done in between
			for range w.limit {
				w.faults.Crashes++
				m = w.members[g][w.rng.IntN(workers)]
				w.poll(m)
				w.die(m)
			}
		}
	}
}

// readRow reads a row of the source: the last state of a chunk, with its
// version.
func (w *world) readRow() {
	var last record
	c := w.rng.IntN(chunks - 1)
	for p := range w.log {
		for _, r := range w.log[p] {
			if r.chunk == c && !r.poison && r.version > last.version {
				last = r
			}
		}
	}
	if last.version > 0 && last.op == put {
		w.rows = append(w.rows, last)
	}
}

// load is a row that a backfill writes, step by step among everybody else's.
type load struct {
	row record
	batch
}

// beginLoad begins to write a row that was read some time ago, as a worker
// does.
func (w *world) beginLoad() {
	if len(w.rows) == 0 || w.mutant == OffsetAsVersion { // a row has no offset
		return
	}
	l := &load{row: w.rows[0]}
	w.rows = w.rows[1:]
	pt := point{id: l.row.chunk, version: l.row.version, value: l.row.value, partition: -1}
	if w.mutant == SnapshotLate {
		pt.version = w.counter[pt.id]
	}
	w.planPoints(&l.batch, []point{pt})
	w.loads = append(w.loads, l)
}

// load goes on with one of them, or the backfill dies and does it again.
func (w *world) load() {
	if len(w.loads) == 0 {
		return
	}
	i := w.rng.IntN(len(w.loads))
	l := w.loads[i]
	switch {
	case len(l.steps) == 0:
		w.loads = slices.Delete(w.loads, i, i+1)
	case !w.calm && w.one(20):
		w.faults.Backfills++
		w.rows = append(w.rows, l.row)
		w.loads = slices.Delete(w.loads, i, i+1)
	case l.steps[0]():
		l.steps = l.steps[1:]
	}
}

// maxSteps is far more than any history needs to be read to its end.
const maxSteps = 30_000

// finish ends all faults but those of the network and lets everything be
// read; then zombies go on, and what was delayed arrives.
func (w *world) finish() {
	w.calm, w.left = true, 0
	for step := 0; step < maxSteps && w.violation == "" && !w.level(); step++ {
		w.step()
	}
	for w.mutant != OffsetAsVersion && len(w.rows)+len(w.loads) > 0 && w.violation == "" {
		w.beginLoad()
		w.load()
	}
	for g := range w.groups {
		for _, z := range slices.Clone(w.zombies[g]) {
			w.poll(z)
			for len(z.batches) > 0 && w.violation == "" {
				w.work(z)
			}
			if !z.gone {
				w.commit(z)
			}
		}
	}
	for len(w.delayed) > 0 {
		w.deliver()
	}
	if w.violation == "" {
		w.check()
	}
}

// level says that all groups have committed everything.
func (w *world) level() bool {
	for g := range w.groups {
		for p := range partitions {
			if w.commits[g][p].offset < len(w.log[p]) {
				return false
			}
		}
	}
	return true
}
