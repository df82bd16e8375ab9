package verify

import (
	"context"
	"testing"
	"time"

	"chunktide/chunk"
	"chunktide/sink"
)

// told is a source of a few events, each with its doubt. Offsets below first
// are gone.
type told struct {
	events []chunk.Event
	doubts map[int64]Doubt
	first  int64
}

func (s *told) Visit(_ context.Context, visit func(*chunk.Event, Place) error) (Counts, error) {
	for i := range s.events {
		e := s.events[i]
		if err := visit(&e, Place{Part: e.Origin.Partition, Offset: e.Origin.Offset}); err != nil {
			return Counts{}, err
		}
	}
	return Counts{}, nil
}

func (s *told) Settle(context.Context) (Counts, error) { return Counts{}, nil }

func (s *told) Doubt(at Place) Doubt { return s.doubts[at.Offset] }

func (s *told) Stand(o chunk.Origin, _ chunk.Version) (Stand, Place) {
	switch {
	case o.Topic == "":
		return Elsewhere, Place{}
	case o.Offset < s.first:
		return Before, Place{}
	case o.Offset >= 100:
		return After, Place{}
	default:
		return Within, Place{Part: o.Partition, Offset: o.Offset}
	}
}

// What became of a chunk is answered as the whole comparison would.
func TestOneChunkIsAskedFor(t *testing.T) {
	t.Parallel()
	id, doc := chunk.NewID("s", "d", "c"), chunk.NewDocumentID("s", "d")
	event := func(offset int64, v chunk.Version, text string) chunk.Event {
		return chunk.Event{
			Op: chunk.Upsert, ID: id, Source: "s", DocumentID: "d", ChunkID: "c", Version: v, Text: text,
			Origin: chunk.Origin{Topic: "t", Offset: offset}, Time: time.UnixMilli(offset),
		}
	}
	del := func(offset int64, v chunk.Version) chunk.Event {
		e := event(offset, v, "")
		e.Op = chunk.Delete
		return e
	}
	delDoc := func(offset int64, v chunk.Version) chunk.Event {
		e := event(offset, v, "")
		e.Op, e.ID, e.ChunkID = chunk.DeleteDocument, doc, ""
		return e
	}
	elsewhere := func(e chunk.Event) chunk.Event { e.Origin.Partition = 1; return e }
	point := func(e chunk.Event) *sink.Record {
		return &sink.Record{
			ID: e.ID, Source: "s", DocumentID: "d", ChunkID: e.ChunkID, Version: e.Version, Tombstone: e.Op != chunk.Upsert, Hash: chunk.HashText(e.Text),
			ModelVersion: "m", Topic: e.Origin.Topic, Partition: e.Origin.Partition, Offset: e.Origin.Offset, EventTime: e.Time,
		}
	}
	other := point(event(1, 1, "a"))
	other.ModelVersion = "another"
	pending := func(offsets ...int64) map[int64]Doubt {
		m := map[int64]Doubt{}
		for _, o := range offsets {
			m[o] = Pending
		}
		return m
	}
	refused := map[int64]Doubt{2: Refused}
	v1, v2 := event(1, 1, "a"), event(2, 2, "b")
	for name, c := range map[string]struct {
		source told
		point  *sink.Record
		want   Answer
		at     int64 // the offset of the event that decides; -1 for none
	}{
		"level":                       {told{events: []chunk.Event{v1, v2}}, point(v2), Level, 2},
		"stale":                       {told{events: []chunk.Event{v1, v2}}, point(v1), Answer(Stale), 2},
		"another text":                {told{events: []chunk.Event{v1}}, point(event(1, 1, "x")), Answer(Stale), 1},
		"missing":                     {told{events: []chunk.Event{v1}}, nil, Answer(Missing), 1},
		"another model":               {told{events: []chunk.Event{v1}}, other, Answer(WrongModel), 1},
		"deleted":                     {told{events: []chunk.Event{v1, del(2, 2)}}, point(del(2, 2)), Level, 2},
		"should be deleted":           {told{events: []chunk.Event{v1, del(2, 2)}}, point(v1), ShouldEnd, 2},
		"by its document":             {told{events: []chunk.Event{v1, delDoc(2, 2)}}, point(v1), ShouldEnd, 2},
		"by its document's older":     {told{events: []chunk.Event{delDoc(0, 1), v1}}, point(v1), Level, 1},
		"by a versionless":            {told{events: []chunk.Event{v1, del(2, 0)}}, point(v1), ShouldEnd, 2},
		"by one of another partition": {told{events: []chunk.Event{v1, elsewhere(del(3, 0))}}, point(v1), Level, -2},
		"pending":                     {told{events: []chunk.Event{v1, v2}, doubts: pending(2)}, point(v1), Waiting, 2},
		"pending from the start":      {told{events: []chunk.Event{v1}, doubts: pending(1)}, nil, Waiting, 1},
		"a pending delete":            {told{events: []chunk.Event{v1, del(2, 2)}, doubts: pending(2)}, point(v1), Waiting, 2},
		"pending and there":           {told{events: []chunk.Event{v1, v2}, doubts: pending(2)}, point(v2), Level, 2},
		"refused":                     {told{events: []chunk.Event{v1, v2}, doubts: refused}, point(v1), InLetters, 2},
		"refused from the start":      {told{events: []chunk.Event{v2}, doubts: refused}, nil, InLetters, 2},
		"refused, and then applied":   {told{events: []chunk.Event{v1, v2}, doubts: refused}, point(v2), Level, -2},
		"refused, and sent again":     {told{events: []chunk.Event{v1, v2, event(3, 2, "b")}, doubts: refused}, point(event(3, 2, "b")), Level, -2},
		"newer":                       {told{events: []chunk.Event{v1}}, point(event(100, 5, "z")), Newer, 1},
		"ahead, from a backfill":      {told{events: []chunk.Event{v1}}, point(chunk.Event{ID: id, Op: chunk.Upsert, ChunkID: "c", Version: 9}), Ahead, 1},
		"forgotten":                   {told{first: 1}, point(event(0, 1, "a")), Forgotten, -1},
		"an orphan":                   {told{}, point(event(1, 1, "a")), Answer(Orphan), -1},
		"unknown":                     {told{events: []chunk.Event{}}, nil, Unknown, -1},
	} {
		for _, document := range []chunk.ID{doc, {}} {
			one, err := Ask(t.Context(), &c.source, id, document, c.point, []string{"m"})
			at := int64(-1)
			if one.Want != nil {
				at = one.Want.Origin.Offset
			}
			if err != nil || one.Answer != c.want || c.at != -2 && at != c.at {
				t.Errorf("%s: %q, by the event at %d, %v; want %q by %d", name, one.Answer, at, err, c.want, c.at)
			}
			if len(one.Events) != len(c.source.events) {
				t.Errorf("%s: %d events, want %d", name, len(one.Events), len(c.source.events))
			}
			if right := c.want == Level || c.want == Waiting || c.want == Newer || c.want == Ahead || c.want == Forgotten; right != one.Answer.Right() {
				t.Errorf("%s is right: %v", one.Answer, !right)
			}
		}
	}

	// The document's own tombstone.
	for name, c := range map[string]struct {
		source told
		point  *sink.Record
		want   Answer
	}{
		"level":     {told{events: []chunk.Event{delDoc(1, 3), delDoc(2, 4)}}, point(delDoc(2, 4)), Level},
		"older":     {told{events: []chunk.Event{delDoc(1, 3), delDoc(2, 4)}}, point(delDoc(1, 3)), Answer(Missing)},
		"pending":   {told{events: []chunk.Event{delDoc(2, 4)}, doubts: pending(2)}, nil, Waiting},
		"refused":   {told{events: []chunk.Event{delDoc(2, 4)}, doubts: refused}, nil, InLetters},
		"forgotten": {told{events: []chunk.Event{}}, point(delDoc(1, 3)), Forgotten},
		"unknown":   {told{events: []chunk.Event{v1}}, nil, Unknown},
	} {
		if one, err := Ask(t.Context(), &c.source, doc, doc, c.point, nil); err != nil || one.Answer != c.want {
			t.Errorf("document, %s: %q, %v; want %q", name, one.Answer, err, c.want)
		}
	}
}
