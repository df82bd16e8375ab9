package pipeline

import (
	"cmp"
	"slices"

	"chunktide/chunk"
)

// outcome is what became of one event of a batch.
type outcome uint8

const (
	// applied: the event's state is in the index.
	applied outcome = iota
	// superseded: a later state of the same chunk in the same batch was
	// applied in its stead.
	superseded
	// stale: the index already held a state as new.
	stale
	// rejected: the event is in the dead letters.
	rejected
)

// outcomes are the labels, in the order of the constants.
var outcomes = [...]string{"applied", "superseded", "stale", "rejected"}

func (o outcome) String() string { return outcomes[o] }

// candidate is the state that a batch wants a chunk to have.
type candidate struct {
	// event is the index of the event that the state comes from.
	event int
	// text is the index of the event whose text it has: event itself, or an
	// earlier one when event left its text out. -1: neither, the text stands
	// in the index.
	text int
	// deleted says that a versionless delete follows in the same partition.
	deleted bool
}

// collapsed is a batch with one state for each chunk.
type collapsed struct {
	// states has at most one candidate for each point id.
	states []candidate
	// deletes are the versionless deletes, in log order.
	deletes []int
	// orphans are updates without text that follow a delete: there is no text
	// for them anywhere.
	orphans []int
	// deferred are updates without text that follow a delete whose effect only
	// the index can tell: one without a version, or of the document. They wait
	// for a round of their own, after the others are durable.
	deferred []int
}

// collapse picks, for each chunk, the event with the highest version. Qdrant
// keeps the last of several points with one id in a request, whatever the
// fence says of the others, so it must never see two.
func collapse(events []chunk.Event, skip []bool) collapsed {
	var c collapsed
	byID := make(map[chunk.ID][]int, len(events))
	order := make([]chunk.ID, 0, len(events))
	deletedBefore := map[chunk.ID]bool{}
	for i := range events {
		e := &events[i]
		if skip[i] {
			continue
		}
		if e.Versionless() || e.Op == chunk.DeleteDocument {
			deletedBefore[e.ID] = true
		}
		switch {
		case e.TextUnchanged && (deletedBefore[e.ID] || deletedBefore[chunk.NewDocumentID(e.Source, e.DocumentID)]):
			c.deferred = append(c.deferred, i)
		case e.Versionless():
			c.deletes = append(c.deletes, i)
		default:
			if _, seen := byID[e.ID]; !seen {
				order = append(order, e.ID)
			}
			byID[e.ID] = append(byID[e.ID], i)
		}
	}
	for _, id := range order {
		indexes := byID[id]
		// Stable: of two events with one version the first in the log stays,
		// as it would have if each had been a batch of its own.
		slices.SortStableFunc(indexes, func(a, b int) int {
			return cmp.Compare(events[a].Version, events[b].Version)
		})
		c.fold(events, indexes)
	}
	c.markDeleted(events)
	return c
}

// fold walks the events of one chunk in version order.
func (c *collapsed) fold(events []chunk.Event, indexes []int) {
	best := candidate{event: -1, text: -1}
	for _, i := range indexes {
		e := &events[i]
		if best.event >= 0 && e.Version == events[best.event].Version {
			continue
		}
		next := candidate{event: i, text: i}
		if e.TextUnchanged {
			if best.event >= 0 && events[best.event].Op != chunk.Upsert {
				c.orphans = append(c.orphans, i)
				continue
			}
			next.text = best.text // -1 if nothing came before
		}
		best = next
	}
	c.states = append(c.states, best)
}

// markDeleted finds the states that a versionless delete of the same batch
// removes again, so that no vector is computed for them. The sink executes
// the deletes themselves.
func (c *collapsed) markDeleted(events []chunk.Event) {
	if len(c.deletes) == 0 {
		return
	}
	last := make(map[chunk.ID]chunk.Origin, len(c.deletes))
	for _, d := range c.deletes {
		if events[d].Op == chunk.Delete {
			last[events[d].ID] = events[d].Origin
		}
	}
	for i := range c.states {
		e := &events[c.states[i].event]
		del, ok := last[e.ID]
		c.states[i].deleted = ok && del.SamePartition(e.Origin) && e.Origin.Offset < del.Offset
	}
}
