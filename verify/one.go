package verify

import (
	"cmp"
	"context"
	"slices"
	"time"

	"chunktide/chunk"
	"chunktide/sink"
)

// Answer is what became of one chunk, by the source: see [Ask].
type Answer string

// The answers.
const (
	// Level: the index holds what the source says.
	Level Answer = "level"
	// Waiting: it holds what the source said before events that no worker has
	// committed yet.
	Waiting Answer = "pending"
	// InLetters: the newest event was refused.
	InLetters Answer = "in the dead letters"
	// Newer: the index has a state from after the end of the source.
	Newer Answer = "newer than the look"
	// Ahead: it has a higher version than any that the source has.
	Ahead Answer = "ahead of the log"
	// Forgotten: it has a state from before the beginning of the source.
	Forgotten Answer = "older than the log"
	// Unknown: neither the index nor the source knows the chunk.
	Unknown Answer = "unknown"
	// The others are a [Kind]: missing, stale, orphan, wrong_model, and this one.
	ShouldEnd Answer = "should be deleted"
)

// Right reports whether nothing is wrong with the answer.
func (a Answer) Right() bool {
	return slices.Contains([]Answer{Level, Waiting, Newer, Ahead, Forgotten}, a)
}

// Told is an event of a chunk, or of its document, as the source has it.
type Told struct {
	Origin  chunk.Origin
	Op      chunk.Op
	Version chunk.Version // 0 for a delete without one
	// Hash is that of the text of an upsert; Unchanged says that it left it out.
	Hash      chunk.Hash
	Unchanged bool
	Time      time.Time
	Doubt     Doubt
	// The names, as the producer gives them.
	Source, DocumentID, ChunkID string

	place Place
}

// One is what the source says of one chunk.
type One struct {
	Answer Answer
	// Want is the event that the index should hold in the end; nil if the source
	// has none. It is a delete where the chunk should not live.
	Want *Told
	// Events are all that the source has, in its order.
	Events []Told
}

// Ask reads the source for one point, and holds the point against it: record is
// nil if the index has none. document may be zero if it is not known; then the
// source is read twice. Models are as in [Options].
func Ask(ctx context.Context, source Source, id, document chunk.ID, record *sink.Record, models []string) (One, error) {
	var one One
	if document == (chunk.ID{}) {
		_, err := source.Visit(ctx, func(e *chunk.Event, _ Place) error {
			if e.ID != id {
				return nil
			}
			document = chunk.NewDocumentID(e.Source, e.DocumentID)
			return errEnough
		})
		if err != nil && err != errEnough { //nolint:errorlint // it is returned as it is
			return one, err
		}
	}
	var entries []entry
	_, err := source.Visit(ctx, func(e *chunk.Event, at Place) error {
		doc := chunk.NewDocumentID(e.Source, e.DocumentID)
		if e.ID != id && (e.Op != chunk.DeleteDocument || doc != document) {
			return nil
		}
		told := Told{
			Origin: e.Origin, Op: e.Op, Version: e.Version, Unchanged: e.TextUnchanged, Time: e.Time, place: at,
			Source: e.Source, DocumentID: e.DocumentID, ChunkID: e.ChunkID,
		}
		if e.Op == chunk.Upsert && !e.TextUnchanged {
			told.Hash = chunk.HashText(e.Text)
		}
		one.Events = append(one.Events, told)
		entries = append(entries, entry{
			doc: doc, id: e.ID, version: e.Version, hash: chunk.HashText(e.Text), op: e.Op, flag: e.TextUnchanged, place: at, time: e.Time.UnixNano(),
		})
		return nil
	})
	if err != nil {
		return one, err
	}
	if _, err := source.Settle(ctx); err != nil {
		return one, err
	}
	for i := range one.Events {
		one.Events[i].Doubt = source.Doubt(one.Events[i].place)
	}
	var h *held
	if record != nil {
		l := look{Parts: Parts{Source: source}, models: map[string]bool{}}
		for _, m := range models {
			l.models[m] = true
		}
		at := l.heldOf(record)
		h = &at
	}
	if id == document {
		one.document(h)
	} else {
		one.chunk(id, fold(entries, source.Doubt), h)
	}
	return one, nil
}

// chunk answers for a chunk.
func (one *One) chunk(id chunk.ID, f folded, h *held) {
	x, known := f.chunks[id]
	if !known {
		x = &f.rest
	}
	v, kind, met := judge(x, known, h)
	var final *outcome
	if len(x.outcomes) > 0 {
		final = &x.outcomes[0]
		one.Want = one.at(final)
	} else if len(one.Events) > 0 {
		one.Want = one.newest()
	}
	switch {
	case h == nil && len(one.Events) == 0:
		one.Answer = Unknown
	case one.refused(h):
		one.Answer = InLetters
	case v == newer:
		one.Answer = Newer
	case v == ahead:
		one.Answer = Ahead
	case v == forgotten:
		one.Answer = Forgotten
	case v == differs && kind == Deleted:
		one.Answer = ShouldEnd
	case v == differs:
		one.Answer = Answer(kind)
	case final != nil && one.pending(h) && !reached(final, met, h):
		one.Answer = Waiting
	default:
		one.Answer = Level
	}
}

// reached reports whether the state that is held is the final one, and not
// another that is right for the time being.
func reached(final, met *outcome, h *held) bool {
	if !final.living {
		return h == nil || h.op != chunk.Upsert
	}
	return h != nil && h.op == chunk.Upsert && met != nil && met.version == final.version
}

// pending reports whether an event that the point may be waiting for is not
// committed.
func (one *One) pending(h *held) bool {
	return slices.ContainsFunc(one.Events, func(e Told) bool {
		return e.Doubt == Pending && (h == nil || e.Version == 0 || e.Version > h.version)
	})
}

// at finds the event that an outcome is of: the delete that ends it where it
// does not live.
func (one *One) at(o *outcome) *Told {
	var found *Told
	for i := range one.Events {
		e := &one.Events[i]
		if e.place == o.place {
			found = e
		}
	}
	if found == nil || o.living || found.Op != chunk.Upsert {
		return found
	}
	var by *Told
	for i := range one.Events {
		e := &one.Events[i]
		if e.Op != chunk.Upsert && (e.Version > found.Version || e.Version == 0 && e.place.follows(found.place)) && (by == nil || e.Version > by.Version) {
			by = e
		}
	}
	if by != nil {
		return by
	}
	return found
}

// newest is the event with the highest version, of equal ones the last.
func (one *One) newest() *Told {
	i := 0
	for n := range one.Events {
		if cmp.Compare(one.Events[n].Version, one.Events[i].Version) >= 0 {
			i = n
		}
	}
	return &one.Events[i]
}

// refused reports whether the highest version is to be found in the dead
// letters only, and the index does not have it nevertheless.
func (one *One) refused(h *held) bool {
	if len(one.Events) == 0 {
		return false
	}
	top := one.newest().Version
	for i := range one.Events {
		if e := &one.Events[i]; e.Version == top && e.Doubt != Refused {
			return false
		}
	}
	if h == nil || h.version < top {
		one.Want = one.newest()
		return true
	}
	return false
}

// document answers for a document's tombstone.
func (one *One) document(h *held) {
	for i := range one.Events {
		e := &one.Events[i]
		if one.Want == nil || e.Version >= one.Want.Version {
			one.Want = e
		}
	}
	switch {
	case one.Want == nil && h == nil:
		one.Answer = Unknown
	case one.Want == nil:
		one.Answer = Forgotten
	case h != nil && h.version >= one.Want.Version:
		one.Answer = Level
	case one.Want.Doubt == Refused:
		one.Answer = InLetters
	case one.Want.Doubt == Pending:
		one.Answer = Waiting
	case one.Want.Version == 0: // what it removed has its own tombstones
		one.Answer = Level
	default:
		one.Answer = Answer(Missing)
	}
}
