package replay

import "chunktide/chunk"

// batch is what is known while one batch is played.
type batch struct {
	*Preview
	stored map[chunk.ID]chunk.Stored
	cached map[chunk.Hash]bool
	final  map[int]bool
	// before are the batch's chunks as it found them: the worker asks once for
	// the whole batch what the index holds.
	before map[chunk.ID]state
	// kept are the texts whose vectors the worker finds in the index.
	kept map[chunk.Hash]bool
}

// look finds out what the worker finds before it encodes.
func (b *batch) look() {
	for i := range b.waiting {
		e := &b.waiting[i].event
		b.before[e.ID], _ = b.chunkOf(e)
	}
	for i := range b.waiting {
		e := &b.waiting[i].event
		before := b.before[e.ID]
		if hash := chunk.HashText(e.Text); b.final[i] && e.Text != "" && before.living && !before.foreign && before.hash == hash && before.version < e.Version {
			b.kept[hash] = true
		}
	}
}

// of is the state of a point as the events before left it.
func (b *batch) of(id chunk.ID) state {
	if s, ok := b.changed[id]; ok {
		return s
	}
	st, ok := b.stored[id]
	if !ok {
		return state{}
	}
	return state{version: st.Version, living: !st.Tombstone, foreign: st.Foreign, hash: st.Hash, origin: st.Origin, time: st.EventTime}
}

// chunkOf is the state of e's chunk, and its document's delete. A chunk that
// lives and is older than that has become a tombstone just below it.
func (b *batch) chunkOf(e *chunk.Event) (now, document state) {
	id := chunk.NewDocumentID(e.Source, e.DocumentID)
	now, document = b.of(e.ID), b.of(id)
	if e.Op == chunk.DeleteDocument || !now.living {
		return now, document
	}
	if document.version > now.version {
		now = state{version: document.version - 1}
	}
	if by, ok := b.emptied[id]; ok && precedes(now, by) {
		now.living = false
	}
	return now, document
}

// play counts the effect of the batch's i-th event.
func (b *batch) play(i int, e *chunk.Event, to *Effect) {
	now, document := b.chunkOf(e)
	if e.Op != chunk.Upsert {
		b.remove(e, now, to)
		return
	}
	next := state{version: e.Version, living: true, hash: chunk.HashText(e.Text), origin: e.Origin, time: e.Time}
	if e.TextUnchanged {
		next.hash = now.hash
	} else if b.final[i] {
		b.encode(e, next.hash, to)
	}
	switch {
	case e.Version <= now.version || e.Version < document.version:
		to.Unchanged++
		return
	case now.living:
		to.Edits++
	default:
		to.Adds++
	}
	b.changed[e.ID] = next
}

// encode counts a model call where the worker would make one: neither the
// cache has the vector, nor is the index as new, nor does it hold the text
// under a chunk of the batch. From then on the cache has it.
func (b *batch) encode(e *chunk.Event, hash chunk.Hash, to *Effect) {
	if b.cached[hash] || b.encoded[hash] || b.before[e.ID].version >= e.Version {
		return
	}
	b.encoded[hash] = true
	if b.kept[hash] {
		return
	}
	to.ModelCalls++
	to.Tokens += b.tokens(e.Text)
}

func (b *batch) remove(e *chunk.Event, now state, to *Effect) {
	switch {
	case e.Versionless() && e.Op == chunk.DeleteDocument:
		to.Deletes++
		by := *e
		b.emptied[e.ID] = &by
		return
	case e.Op == chunk.DeleteDocument && e.Version == 1:
		to.Unchanged++ // there is no version below it to remove
		return
	case e.Versionless() && (!now.living || !precedes(now, e)), !e.Versionless() && e.Version <= now.version:
		to.Unchanged++
		return
	case e.Op == chunk.Delete && !now.living:
		to.Unchanged++ // the tombstone's version rises, and that is all
	default:
		to.Deletes++
	}
	b.changed[e.ID] = state{version: max(e.Version, now.version), origin: e.Origin, time: e.Time}
}

// precedes reports whether a state came before a versionless delete; see
// [chunk.Event.Versionless].
func precedes(s state, e *chunk.Event) bool {
	if s.origin.SamePartition(e.Origin) {
		return s.origin.Offset < e.Origin.Offset
	}
	return !s.time.After(e.Time)
}
