package verify

import (
	"cmp"
	"slices"

	"chunktide/chunk"
)

// outcome is a state in which a chunk may rightly be.
type outcome struct {
	version chunk.Version
	living  bool
	// hash is that of the text; loose says that any text is right, since which
	// one an update without text found depends on the order of arrival.
	hash  chunk.Hash
	loose bool
	// place is that of the event, text that of the event whose text it has,
	// which is another one if it left its text out.
	place, text Place
	textKnown   bool
	// refused says that the event is in the dead letters.
	refused bool
}

// expect is what the index must hold of a chunk.
type expect struct {
	// outcomes are all that are right. The first is what the source says once
	// everything has arrived, but for what was refused: that comes last, since it
	// would be refused again.
	outcomes []outcome
	// absent says that no event is certain to have reached the index.
	absent bool
	// top is the highest version that the source knows.
	top chunk.Version
	// known are the places of the chunk's events, and of its document's.
	known []Place
	// kills are the deletes without a version that are certain.
	kills []entry
}

// knows reports whether a stored state that names a place may be from an event
// that is there.
func (x *expect) knows(at Place) bool {
	return slices.ContainsFunc(x.known, func(p Place) bool { return p.Part == at.Part && p.Offset == at.Offset })
}

// ends reports whether a delete without a version ends a stored state of which
// the source has lost the event.
func (x *expect) ends(h *held) bool {
	return slices.ContainsFunc(x.kills, func(k entry) bool {
		if h.stand == Within && h.place.Part == k.place.Part && k.place.Part != Unordered {
			return k.place.follows(h.place)
		}
		return h.time <= k.time
	})
}

// living is the digest's choice: nil unless the first outcome lives.
func (x *expect) living() *outcome {
	if len(x.outcomes) > 0 && x.outcomes[0].living {
		return &x.outcomes[0]
	}
	return nil
}

// deaths are the deletes that a chunk is subject to.
type deaths struct {
	// below are the versions of deletes of the document: what is lower ends.
	// Doubtful ones may not have come yet.
	below, doubtfulBelow chunk.Version
	versionless, kills   []entry // kills are the certain ones
	places               []Place
}

func (d *deaths) add(e *entry, doubtful bool) {
	d.places = append(d.places, e.place)
	switch {
	case e.version == 0:
		d.versionless = append(d.versionless, *e)
		if !doubtful {
			d.kills = append(d.kills, *e)
		}
	case doubtful:
		d.doubtfulBelow = max(d.doubtfulBelow, e.version)
	default:
		d.below = max(d.below, e.version)
	}
}

// folded is a document.
type folded struct {
	chunks map[chunk.ID]*expect
	// rest is for chunks that the source has no event of.
	rest expect
}

// fold applies the rules of the sink to the events of one document.
func fold(events []entry, doubt func(Place) Doubt) folded {
	var document deaths
	byID := map[chunk.ID][]entry{}
	for i := range events {
		if e := &events[i]; e.op == chunk.DeleteDocument {
			document.add(e, doubt(e.place) != Certain)
		} else {
			byID[e.id] = append(byID[e.id], *e)
		}
	}
	f := folded{chunks: make(map[chunk.ID]*expect, len(byID))}
	for id, list := range byID {
		f.chunks[id] = foldChunk(list, document, doubt)
	}
	f.rest.known, f.rest.absent, f.rest.kills = document.places, true, document.kills
	if document.below > 0 {
		f.rest.top = document.below - 1
	}
	return f
}

func foldChunk(events []entry, d deaths, doubt func(Place) Doubt) *expect {
	// The document's are shared with its other chunks.
	d.versionless, d.kills, d.places = slices.Clone(d.versionless), slices.Clone(d.kills), slices.Clone(d.places)
	states := events[:0:0]
	for i := range events {
		if e := &events[i]; e.version == 0 {
			d.add(e, doubt(e.place) != Certain)
		} else {
			states = append(states, *e)
			d.places = append(d.places, e.place)
		}
	}
	// The highest version first, and of equal ones those of a partition in
	// their order, since the first of them is the one that stays.
	slices.SortStableFunc(states, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.version, a.version), cmp.Compare(a.place.Part, b.place.Part),
			cmp.Compare(a.place.Offset, b.place.Offset), cmp.Compare(a.place.Index, b.place.Index))
	})
	x := &expect{absent: true, known: d.places, kills: d.kills}
	if d.below > 0 {
		x.top = d.below - 1
	}
	for i := 0; i < len(states) && x.absent; {
		level := i
		for i < len(states) && states[i].version == states[level].version {
			i++
		}
		x.top = max(x.top, states[level].version)
		x.level(states[level:i], states[i:], &d, doubt)
	}
	slices.SortStableFunc(x.outcomes, func(a, b outcome) int {
		switch {
		case a.refused == b.refused:
			return 0
		case b.refused:
			return -1
		default:
			return 1
		}
	})
	return x
}

// level adds the outcomes of the states of one version. Lower are the states
// of lower versions.
func (x *expect) level(states, lower []entry, d *deaths, doubt func(Place) Doubt) {
	settled := map[int32]bool{} // partitions whose first certain state is known
	for i := range states {
		e := &states[i]
		if settled[e.place.Part] {
			continue
		}
		if doubt(e.place) == Certain {
			settled[e.place.Part] = true
			x.absent = false
		}
		x.state(e, lower, d, doubt)
	}
}

// state adds what may have become of one state.
func (x *expect) state(e *entry, lower []entry, d *deaths, doubt func(Place) Doubt) {
	o := outcome{
		version: e.version, living: e.op == chunk.Upsert, hash: e.hash, place: e.place, text: e.place, textKnown: true,
		refused: doubt(e.place) == Refused,
	}
	if !o.living {
		x.outcomes = append(x.outcomes, o)
		return
	}
	if e.flag {
		o.inherit(lower)
	}
	dies, may := d.of(e, doubt)
	if dies || may {
		gone := o
		gone.living, gone.version = false, max(o.version, d.below-1)
		x.outcomes = append(x.outcomes, gone)
	}
	if !dies {
		x.outcomes = append(x.outcomes, o)
	}
}

// inherit finds the text of a state that left it out: that of the state before
// it. It is certain if all came in the order of their versions on one
// partition.
func (o *outcome) inherit(lower []entry) {
	o.textKnown, o.loose = false, true
	after := o.place
	ordered := true
	for i := range lower {
		e := &lower[i]
		ordered = ordered && after.follows(e.place)
		after = e.place
		if e.op != chunk.Upsert {
			return
		}
		if !e.flag {
			o.text, o.hash, o.textKnown, o.loose = e.place, e.hash, true, !ordered
			return
		}
	}
}

// of tells whether a living state is certain to have been ended, or may have
// been.
func (d *deaths) of(e *entry, doubt func(Place) Doubt) (dies, may bool) {
	dies = e.version < d.below
	may = e.version < d.doubtfulBelow
	for i := range d.versionless {
		switch k := &d.versionless[i]; {
		case k.place.follows(e.place):
			if doubt(k.place) == Certain {
				dies = true
			}
			may = true
		case e.place.follows(k.place):
			// The state came after; the delete is of what was before.
		case e.time <= k.time:
			// On another partition: it depends on which was first.
			may = true
		}
	}
	return dies, may
}
