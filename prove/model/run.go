package model

import "math/rand/v2"

// Result tells of one history.
type Result struct {
	// Violation is empty if all invariants held.
	Violation string
	// Events were produced, Faults injected.
	Events, Faults int
}

// Run runs the history of a seed. It is deterministic.
func Run(seed uint64, mutant Mutant) Result {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 42)), mutant: mutant,
		index: map[int]point{}, dead: map[[2]int]bool{}, parallel: seed%2 == 0,
	}
	// Somebody else's points: no version.
	for id := range chunks {
		if w.rng.IntN(6) == 0 && id != cdcChunk {
			w.index[id] = point{id: id, value: -2}
		}
	}
	w.groups = 1 + int(seed/2)%maxGroups
	for g := range w.groups {
		for range workers {
			w.members[g] = append(w.members[g], &worker{group: g})
		}
		w.rebalance(g)
	}
	events := 20 + w.rng.IntN(30)
	for step := 0; step < 40*events && w.violation == ""; step++ {
		w.step(&events)
	}
	w.finish()
	total := 0
	for p := range w.log {
		total += len(w.log[p])
	}
	return Result{Violation: w.violation, Events: total, Faults: w.faults}
}

// step does one thing, anywhere.
func (w *world) step(events *int) {
	m := w.members[w.rng.IntN(w.groups)][w.rng.IntN(workers)]
	switch w.rng.IntN(24) {
	case 0, 1, 2:
		if *events > 0 {
			*events--
			w.produce()
		}
	case 3:
		w.snapshot()
	case 4:
		w.writeSnapshot()
	case 5, 6, 7:
		if len(m.batches) < 2 {
			w.poll(m)
		}
	case 8, 9:
		w.commit(m)
	case 10:
		w.deliver()
	case 11:
		if w.rng.IntN(4) == 0 {
			w.disturb(m)
		}
	default:
		w.work(m)
	}
}

// produce appends an event to the log: an edit, a delete, or one of the
// things that producers do wrong.
func (w *world) produce() {
	c := w.rng.IntN(chunks)
	p := c % partitions
	if c == cdcChunk {
		if w.rng.IntN(4) == 0 && !w.parallel {
			w.log[p] = append(w.log[p], record{op: bare, chunk: c, doc: c / chunksOfDoc})
			return
		}
		w.log[p] = append(w.log[p], w.edit(c, put))
		return
	}
	if w.rng.IntN(5) == 0 {
		p = w.rng.IntN(partitions) // keyed otherwise than before
	}
	switch w.rng.IntN(12) {
	case 0:
		d := c / chunksOfDoc
		// Above everything that its chunks have now.
		v := w.lastDoc[d]
		for i := d * chunksOfDoc; i < (d+1)*chunksOfDoc; i++ {
			v = max(v, w.counter[i])
		}
		w.lastDoc[d] = v + 1
		w.log[p] = append(w.log[p], record{op: delDoc, chunk: -1, doc: d, version: v + 1})
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
	default:
		w.log[p] = append(w.log[p], w.edit(c, put))
	}
}

// edit is the next state of a chunk.
func (w *world) edit(c int, o op) record {
	w.values++
	w.counter[c] = max(w.counter[c], w.lastDoc[c/chunksOfDoc]-1) + 1 + int64(w.rng.IntN(2))
	return record{op: o, chunk: c, doc: c / chunksOfDoc, version: w.counter[c], value: w.values}
}

// snapshot reads a row: the last state of a chunk, with its version.
func (w *world) snapshot() {
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
		w.snapshots = append(w.snapshots, last)
	}
}

// writeSnapshot writes a row that was read some time ago, as a worker does.
func (w *world) writeSnapshot() {
	if len(w.snapshots) == 0 {
		return
	}
	r := w.snapshots[0]
	w.snapshots = w.snapshots[1:]
	if w.mutant == OffsetAsVersion {
		return // a row has no offset
	}
	pt := point{id: r.chunk, version: r.version, value: r.value, partition: -1}
	if w.mutant == SnapshotLate {
		pt.version = w.counter[r.chunk]
	}
	b := &batch{}
	w.planWrite(b, []point{pt})
	w.planCheck(b, []point{pt})
	if w.mutant == NoWriterHalf {
		b.steps = b.steps[:len(b.steps)-2]
	}
	// The backfill retries until it is through, or dies and does it again.
	for len(b.steps) > 0 {
		if b.steps[0]() {
			b.steps = b.steps[1:]
		}
	}
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

// disturb kills a worker, or takes its partitions while it goes on.
func (w *world) disturb(m *worker) {
	w.faults++
	fresh := &worker{group: m.group}
	for i, other := range w.members[m.group] {
		if other == m {
			w.members[m.group][i] = fresh
		}
	}
	if w.rng.IntN(2) == 0 {
		w.members[m.group] = append(w.members[m.group], m)
		if len(w.members[m.group]) > workers+2 {
			w.members[m.group] = append(w.members[m.group][:workers:workers], m)
		}
	}
	w.rebalance(m.group)
}

// rebalance deals the partitions out anew. Who gets one begins at the commit.
func (w *world) rebalance(g int) {
	for p := range partitions {
		m := w.members[g][w.rng.IntN(workers)]
		if w.owner[g][p] == m {
			continue
		}
		w.owner[g][p] = m
		m.position[p], m.next[p], m.acked[p] = w.commits[g][p], w.commits[g][p], nil
		// What it had in flight from an earlier assignment no longer counts.
		for _, b := range m.batches {
			b.spans[p] = span{}
		}
	}
}

// finish ends all faults and lets everything be read; then zombies go on, and
// what was delayed arrives.
func (w *world) finish() {
	for g := range w.groups {
		for _, m := range w.members[g][:workers] {
			for round := 0; round < 10_000 && w.violation == ""; round++ {
				w.poll(m)
				if len(m.batches) == 0 {
					break
				}
				for len(m.batches) > 0 {
					w.work(m)
				}
				w.commit(m)
			}
		}
	}
	for len(w.snapshots) > 0 {
		w.writeSnapshot()
	}
	for g := range w.groups {
		for _, m := range w.members[g][workers:] {
			for len(m.batches) > 0 {
				w.work(m)
			}
			w.commit(m)
		}
	}
	for len(w.delayed) > 0 {
		w.deliver()
	}
	if w.violation == "" {
		w.check()
	}
}
