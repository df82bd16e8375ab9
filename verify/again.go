package verify

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"chunktide/chunk"
	"chunktide/sink"
)

// again is how many suspects are read at once.
const again = 1000

// lookAgain reads each suspect once more: what a worker has changed meanwhile
// is judged as it is now.
func (l *look) lookAgain(ctx context.Context) error {
	l.report.Differences = map[Kind]int{}
	for _, k := range Kinds() {
		l.report.Differences[k] = l.unlisted[k]
	}
	var named []Difference
	for part := range slices.Chunk(l.suspects, again) {
		ids := make([]chunk.ID, len(part))
		for i := range part {
			ids[i] = part[i].id
		}
		records, err := l.Index.Look(ctx, ids)
		if err != nil {
			return err
		}
		for i := range part {
			r, ok := records[part[i].id]
			if d, still := l.confirm(part[i], r, ok); still {
				named = append(named, d)
			}
		}
	}
	l.report.Named = oneEach(named)
	for _, d := range l.report.Named {
		l.report.Differences[d.Kind]++
	}
	return nil
}

// confirm judges a suspect by its present state.
func (l *look) confirm(s suspect, r sink.Record, there bool) (Difference, bool) {
	d := Difference{ID: s.id, Point: s.id.String()}
	var now *held
	if there {
		if h := l.heldOf(&r); h.doc == s.doc {
			now = &h
		} // else its names are those of another document, and this one has no point
		d.Source, d.DocumentID, d.ChunkID, d.Have = r.Source, r.DocumentID, r.ChunkID, r.Version
	}
	unchanged := there == s.there && (!there || same(storedOf(&r), s.seen))
	if !s.forced || !unchanged {
		v, kind, o := judge(s.x, s.known, now)
		if v != differs {
			l.count(v)
			return d, false
		}
		s.kind, s.want, s.forced = kind, o, false
	}
	s.there, s.seen = there, storedOf(&r)
	d.Kind, d.Cosine = s.kind, s.cosine
	if s.want != nil && !s.ends() {
		d.Want = s.want.version
	}
	d.suspect = s
	return d, true
}

// ends reports whether the chunk should not live.
func (s *suspect) ends() bool { return s.kind == Deleted || s.kind == Orphan }

// oneEach leaves one difference for each point. A point whose document's name
// was changed is missing under the one and an orphan under the other: it is
// stale.
func oneEach(list []Difference) []Difference {
	slices.SortStableFunc(list, func(a, b Difference) int {
		return cmp.Or(bytes.Compare(a.ID[:], b.ID[:]), cmp.Compare(b.Want, a.Want))
	})
	out := list[:0]
	for _, d := range list {
		if n := len(out); n > 0 && out[n-1].ID == d.ID {
			if out[n-1].Want > 0 {
				out[n-1].Kind = Stale
			}
			continue
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Source, b.Source), cmp.Compare(a.DocumentID, b.DocumentID),
			cmp.Compare(a.ChunkID, b.ChunkID), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// name asks the source for the names of the chunks that the index does not
// have at all.
func (l *look) name(ctx context.Context) error {
	nameless := map[chunk.ID]*Difference{}
	for i := range l.report.Named {
		if d := &l.report.Named[i]; !d.suspect.there {
			nameless[d.ID] = d
		}
	}
	if len(nameless) == 0 {
		return nil
	}
	_, err := l.Source.Visit(ctx, func(e *chunk.Event, _ Place) error {
		d := nameless[e.ID]
		if d == nil {
			return nil
		}
		d.Source, d.DocumentID, d.ChunkID = e.Source, e.DocumentID, e.ChunkID
		if delete(nameless, e.ID); len(nameless) == 0 {
			return errEnough
		}
		return nil
	})
	if err == errEnough { //nolint:errorlint // it is returned as it is
		return nil
	}
	return err
}
