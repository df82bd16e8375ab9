package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chunktide/chunk"
	"chunktide/sink"
)

// look is one comparison.
type look struct {
	Parts
	o      Options
	models map[string]bool
	report Report

	source *spill // events
	points *spill // of the cells that differ
	index  []cell
	differ []bool // cells
	sample sampler
	// forced are points that are wrong whatever their version says.
	forced   map[chunk.ID]forced
	suspects []suspect
	unlisted map[Kind]int
}

// forced is what was found out about a point by other means than its outline.
type forced struct {
	kind   Kind
	cosine float64
	seen   chunk.Stored
	doc    chunk.ID
}

// suspect is a chunk that differs, as far as was seen.
type suspect struct {
	id, doc chunk.ID
	kind    Kind
	x       *expect
	known   bool
	forced  bool
	cosine  float64
	// want is what would make it good; nil for an end, or if the source has
	// nothing that would.
	want *outcome
	// seen is what the index held; there is false if it held nothing.
	seen  chunk.Stored
	there bool
}

// Run compares once. It returns a report only if it got to the end.
func Run(ctx context.Context, parts Parts, o Options) (Report, error) {
	l := &look{
		Parts: parts, o: o, models: map[string]bool{}, index: make([]cell, cells), differ: make([]bool, cells),
		forced: map[chunk.ID]forced{}, unlisted: map[Kind]int{}, sample: newSampler(o.Sample, o.Seed),
	}
	for _, m := range o.Models {
		l.models[m] = true
	}
	begun := time.Now()
	err := l.run(ctx)
	l.report.Begun, l.report.Seconds = begun, time.Since(begun).Seconds()
	return l.report, err
}

func (l *look) run(ctx context.Context) (err error) {
	if l.source, err = newSpill(l.o.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.source.close()) }()
	if l.points, err = newSpill(l.o.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.points.close()) }()
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"read the source", l.readSource},
		{"wait for the workers", l.settle},
		{"read the index", l.readIndex},
		{"look at a sample of the vectors", l.compareSample},
		{"look for what no version tells", l.survey},
		{"compare the digests", l.compareCells},
		{"read what differs", l.readPoints},
		{"compare what differs", l.comparePoints},
		{"look again at what differs", l.lookAgain},
		{"name what differs", l.name},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

func (l *look) readSource(ctx context.Context) error {
	counts, err := l.Source.Visit(ctx, func(e *chunk.Event, at Place) error {
		return l.source.add(&entry{
			doc: chunk.NewDocumentID(e.Source, e.DocumentID), id: e.ID, version: e.Version, hash: chunk.HashText(e.Text),
			op: e.Op, flag: e.TextUnchanged, place: at, time: e.Time.UnixNano(),
		})
	})
	l.report.Counts = counts
	return err
}

func (l *look) settle(ctx context.Context) error {
	counts, err := l.Source.Settle(ctx)
	l.report.Refused = counts.Refused
	return err
}

func (l *look) readIndex(ctx context.Context) error {
	return l.Index.Outline(ctx, func(r sink.Record) error {
		l.report.Points++
		if r.Tombstone {
			return nil
		}
		l.report.Living++
		h := l.heldOf(&r)
		l.index[cellOf(h.doc)].add(h.id, h.version, h.hash, h.flag)
		if h.stand != After {
			l.sample.offer(h)
		}
		return nil
	})
}

func (l *look) heldOf(r *sink.Record) held {
	h := held{
		doc: chunk.NewDocumentID(r.Source, r.DocumentID), id: r.ID, version: r.Version, hash: r.Hash, op: chunk.Upsert,
		flag: l.models[r.ModelVersion], time: r.EventTime.UnixNano(),
	}
	if r.Tombstone {
		h.op = chunk.Delete
	}
	h.stand, h.place = l.Source.Stand(chunk.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, r.Version)
	return h
}

// survey finds what lies in the index beside what versions tell.
func (l *look) survey(ctx context.Context) error {
	note := func(kind Kind) func(sink.Record) error {
		return func(r sink.Record) error {
			h := l.heldOf(&r)
			l.force(h.id, forced{kind: kind, seen: storedOf(&r), doc: h.doc})
			return nil
		}
	}
	if err := l.Index.Remains(ctx, note(Deleted)); err != nil {
		return err
	}
	return l.Index.Blind(ctx, note(Missing))
}

func (l *look) force(id chunk.ID, f forced) {
	l.forced[id] = f
	l.differ[cellOf(f.doc)] = true
}

func storedOf(r *sink.Record) chunk.Stored {
	return chunk.Stored{
		Version: r.Version, Tombstone: r.Tombstone, Hash: r.Hash, EventTime: r.EventTime,
		Origin: chunk.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
	}
}

// documents folds a bucket, one document after the other.
func (l *look) documents(bucket int, visit func(doc chunk.ID, events []entry, f folded)) error {
	events, err := l.source.bucket(bucket)
	if err != nil {
		return err
	}
	slices.SortStableFunc(events, func(a, b entry) int { return bytes.Compare(a.doc[:], b.doc[:]) })
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].doc == events[0].doc {
			n++
		}
		visit(events[0].doc, events[:n], fold(events[:n], l.Source.Doubt))
		events = events[n:]
	}
	return nil
}

// compareCells folds the source and marks the cells in which it differs from
// the index.
func (l *look) compareCells(ctx context.Context) error {
	want := make([]cell, cells)
	for b := range buckets {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := l.documents(b, func(doc chunk.ID, events []entry, f folded) {
			for i := range events {
				if l.Source.Doubt(events[i].place) == Pending {
					l.report.Pending++
				}
			}
			for id, x := range f.chunks {
				if o := x.living(); o != nil {
					want[cellOf(doc)].add(id, o.version, o.hash, true)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	for i := range want {
		if want[i] != l.index[i] {
			l.differ[i] = true
		}
		if l.differ[i] {
			l.report.Cells++
		}
	}
	return nil
}

// readPoints reads the index once more, for the cells that differ.
func (l *look) readPoints(ctx context.Context) error {
	if l.report.Cells == 0 {
		return nil
	}
	return l.Index.Outline(ctx, func(r sink.Record) error {
		h := l.heldOf(&r)
		if !l.differ[cellOf(h.doc)] {
			return nil
		}
		return l.points.add(&h)
	})
}

func (l *look) comparePoints(ctx context.Context) error {
	for b := range buckets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !slices.Contains(l.differ[b*256:(b+1)*256], true) {
			continue
		}
		points, err := l.points.bucket(b)
		if err != nil {
			return err
		}
		stored := make(map[chunk.ID]*held, len(points))
		for i := range points {
			stored[points[i].id] = &points[i]
		}
		rest := map[chunk.ID]*expect{}
		err = l.documents(b, func(doc chunk.ID, _ []entry, f folded) {
			if !l.differ[cellOf(doc)] {
				return
			}
			for id, x := range f.chunks {
				l.compare(id, doc, x, true, stored[id])
				delete(stored, id)
			}
			if len(f.rest.known) > 0 {
				rest[doc] = &f.rest
			}
		})
		if err != nil {
			return err
		}
		for id, h := range stored {
			x := rest[h.doc]
			if x == nil {
				x = &expect{absent: true}
			}
			l.compare(id, h.doc, x, false, h)
		}
	}
	return nil
}

func (l *look) compare(id, doc chunk.ID, x *expect, known bool, h *held) {
	s := suspect{id: id, doc: doc, x: x, known: known}
	if h != nil {
		s.there = true
		s.seen = chunk.Stored{Version: h.version, Tombstone: h.op != chunk.Upsert, Hash: h.hash}
	}
	v, kind, o := judge(x, known, h)
	if f, ok := l.forced[id]; ok && v != differs && h != nil && same(f.seen, s.seen) {
		// A state that is not within the source is left to the next look, but
		// for a tombstone, which needs no source.
		if v != newer || f.kind == Deleted {
			v, kind, s.forced, s.cosine = differs, f.kind, true, f.cosine
		}
	}
	l.count(v)
	if v != differs {
		return
	}
	s.kind, s.want = kind, o
	if len(l.suspects) < l.o.Limit {
		l.suspects = append(l.suspects, s)
	} else {
		l.unlisted[kind]++
	}
}

func (l *look) count(v verdict) {
	switch v {
	case newer:
		l.report.Newer++
	case ahead:
		l.report.Ahead++
	case forgotten:
		l.report.Forgotten++
	case right, differs:
	}
}

// same reports whether two looks saw one state.
func same(a, b chunk.Stored) bool {
	return a.Version == b.Version && a.Tombstone == b.Tombstone && a.Hash == b.Hash
}
