package model

import "slices"

// tell sends a commit for one partition to the coordinator. False: refused, or
// not answered. A member that the group has dismissed learns it.
func (w *world) tell(m *worker, p int, c commit) bool {
	if w.owner[m.group][p] != m {
		m.parts[p] = assignment{}
		return false
	}
	outcome := w.rng.IntN(12)
	if outcome == 0 {
		w.faults.CommitLost++
		return false
	}
	if c.offset != w.commits[m.group][p].offset {
		w.deaths[m.group][p] = 0
	}
	w.commits[m.group][p] = c
	w.checkCommit(m.group, p, c.offset)
	if outcome == 1 {
		w.faults.CommitLost++
		return false
	}
	m.parts[p].told = c.offset
	return true
}

// note commits the attempt that is about to be made at the head of a
// partition.
func (w *world) note(m *worker, p int) bool {
	if w.mutant == NoMarker {
		return true
	}
	a := &m.parts[p]
	return w.tell(m, p, commit{a.next, a.base(a.next) + 1})
}

// commit makes progress durable, which clears the attempts.
func (w *world) commit(m *worker) {
	for p := range partitions {
		a := &m.parts[p]
		if a.owned && a.next > a.told && w.tell(m, p, commit{a.next, w.kept(w.commits[m.group][p].attempts)}) {
			a.suspect = false
		}
	}
}

// assign gives a partition to a member, which begins at the commit. What it
// has in flight from an earlier assignment no longer counts.
func (w *world) assign(m *worker, p int) {
	c := w.commits[m.group][p]
	w.owner[m.group][p] = m
	a := assignment{owned: true, first: c.offset, found: c.attempts, position: c.offset, next: c.offset, told: c.offset, deaths: w.deaths[m.group][p]}
	if c.attempts > 0 {
		// How far is a guess: the owner before told nobody what it had taken.
		// Any guess is right, for whoever survives the head makes progress.
		a.doubt = c.offset + 1 + w.rng.IntN(5)
	}
	m.parts[p] = a
	for _, b := range m.batches {
		b.spans[p] = span{}
	}
}

// release lets go of a partition in order: what is done is committed, and the
// attempt that did not end badly is taken back.
func (w *world) release(m *worker, p int, drain bool) {
	for drain && m.inFlight(p) && !m.gone && w.violation == "" {
		w.work(m)
	}
	if m.gone || w.owner[m.group][p] != m {
		return // it died of it
	}
	for !w.settle(m, p) {
		if w.mayKill(m) {
			w.bury(m, p) // as good as dead: it could not say so in time
			break
		}
	}
	m.parts[p] = assignment{}
	w.owner[m.group][p] = nil
}

// settle commits what is done, or else the count that this owner found.
func (w *world) settle(m *worker, p int) bool {
	a, c := &m.parts[p], w.commits[m.group][p]
	switch {
	case a.next > c.offset:
		return w.tell(m, p, commit{a.next, w.kept(c.attempts)})
	case c.attempts > a.base(c.offset) && w.mutant != MarkerKept:
		return w.tell(m, p, commit{c.offset, a.base(c.offset)})
	}
	return true
}

// kept is what progress leaves of the attempts.
func (w *world) kept(attempts int) int {
	if w.mutant == MarkerStays {
		return attempts
	}
	return 0
}

// bury counts, for the judge, a death with an attempt under way.
func (w *world) bury(m *worker, p int) {
	if c := w.commits[m.group][p]; c.attempts > m.parts[p].base(c.offset) {
		w.deaths[m.group][p]++
	}
}

// die ends a process.
func (w *world) die(m *worker) {
	m.gone, m.batches = true, nil
	w.zombies[m.group] = slices.DeleteFunc(w.zombies[m.group], func(z *worker) bool { return z == m })
	w.dismiss(m)
}

// lose ends a session. The process does not know, and goes on as a zombie.
func (w *world) lose(m *worker) {
	w.dismiss(m)
	w.zombies[m.group] = append(w.zombies[m.group], m)
	if len(w.zombies[m.group]) > maxZombies {
		w.die(w.zombies[m.group][0])
	}
}

// dismiss takes a member out of its group; another comes in its place.
func (w *world) dismiss(m *worker) {
	g := m.group
	i := slices.Index(w.members[g][:], m)
	if i < 0 {
		return
	}
	w.members[g][i] = &worker{group: g}
	for p := range partitions {
		if w.owner[g][p] == m {
			w.bury(m, p)
			w.owner[g][p] = nil
		}
	}
	w.deal(g)
}

// deal gives the free partitions to members.
func (w *world) deal(g int) {
	for p := range partitions {
		if w.owner[g][p] == nil {
			w.assign(w.members[g][w.rng.IntN(workers)], p)
		}
	}
}

// rebalance moves a partition from one member to another.
func (w *world) rebalance(g int) {
	p := w.rng.IntN(partitions)
	w.faults.Rebalanced++
	w.release(w.owner[g][p], p, w.one(2))
	w.deal(g)
}

// quit ends a process by an error that is no record's fault, such as a
// refused password: it lets go in order.
func (w *world) quit(m *worker) {
	w.faults.Fatal++
	for p := range partitions {
		if w.owner[m.group][p] == m {
			w.release(m, p, false)
		}
	}
	w.die(m)
}

// reset replays: the members are stopped, the offsets set back. A zombie does
// not hear of it.
func (w *world) reset(g int) {
	w.faults.Replays++
	for _, m := range w.members[g] {
		switch {
		case !w.mayKill(m):
			w.quit(m)
		case w.one(3):
			w.lose(m)
		default:
			w.die(m)
		}
	}
	for p := range partitions {
		if w.one(2) {
			continue
		}
		w.commits[g][p] = commit{offset: w.rng.IntN(w.commits[g][p].offset + 1)}
		w.deaths[g][p] = 0
	}
	for p := range partitions {
		w.owner[g][p] = nil
	}
	w.members[g] = [workers]*worker{{group: g}, {group: g}}
	w.deal(g)
}
