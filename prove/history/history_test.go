package history

import (
	"bytes"
	"reflect"
	"testing"

	"chunktide/chunk"
)

func encode(text string) []float32 {
	return []float32{float32(len(text)), float32(text[len(text)-1]), 1}
}

// replay applies a history by the rules of the protocol, one record at a time,
// so that the fold is known in a second way.
func replay(t *testing.T, h *History, rows ...Record) []Stored {
	t.Helper()
	decoder, err := chunk.NewDecoder(chunk.DefaultDecoderConfig())
	if err != nil {
		t.Fatal(err)
	}
	offsets := map[int32]int64{}
	points, origin := map[chunk.ID]Stored{}, map[chunk.ID]chunk.Origin{}
	deleted := map[chunk.ID]int64{}
	for i, r := range append(h.Records, rows...) {
		offsets[r.Partition]++
		at := chunk.Origin{Topic: "t", Partition: r.Partition, Offset: offsets[r.Partition]}
		if i >= len(h.Records) {
			at.Topic = "backfill"
		}
		events, err := decoder.Decode(chunk.Record{Origin: at, Timestamp: r.Time, Key: r.Key, Value: r.Value})
		if (r.Kind == Malformed) != (err != nil) {
			t.Fatalf("record %d of kind %d: %v in %q", i, r.Kind, err, r.Value)
		}
		if r.Kind == Refused {
			// A text that the decoder calls empty would be a delete.
			if len(events) != 1 || events[0].Op != chunk.Upsert {
				t.Fatalf("record %d is to be refused by the encoder, and is %+v", i, events)
			}
			continue
		}
		for _, e := range events {
			p := points[e.ID]
			switch {
			case e.Op == chunk.DeleteDocument:
				id := chunk.NewDocumentID(e.Source, e.DocumentID)
				deleted[id] = max(deleted[id], int64(e.Version))
			case e.Versionless():
				if o := origin[e.ID]; o.SamePartition(at) && o.Offset < at.Offset {
					p.Tombstone = true
					points[e.ID] = p
				}
			case int64(e.Version) > p.Version:
				points[e.ID] = Stored{ID: e.ID, Source: e.Source, DocumentID: e.DocumentID, ChunkID: e.ChunkID, Version: int64(e.Version), Tombstone: e.Op == chunk.Delete, Text: e.Text}
				origin[e.ID] = at
			}
		}
	}
	var out []Stored
	for _, p := range points {
		if p.Version < deleted[chunk.NewDocumentID(p.Source, p.DocumentID)] {
			p.Tombstone = true
		}
		if !p.Tombstone {
			p.Vector = encode(p.Text)
		}
		out = append(out, p)
	}
	return out
}

func TestTheFoldIsWhatTheProtocolLeadsTo(t *testing.T) {
	for seed := range uint64(30) {
		h := New(seed, DefaultShape(2000, 300, 6))
		if v := h.Compare(replay(t, h), encode); !v.Good() {
			t.Errorf("seed %d: %v", seed, v)
		}
	}
}

func TestSnapshotsChangeNothing(t *testing.T) {
	shape := DefaultShape(2000, 300, 6)
	for seed := range uint64(10) {
		h := New(seed, shape)
		rows := Snapshot(seed, shape, 900)
		if len(rows) < 100 {
			t.Fatalf("the snapshot has %d rows", len(rows))
		}
		if v := h.Compare(replay(t, h, rows...), encode); !v.Good() {
			t.Errorf("seed %d: %v", seed, v)
		}
	}
}

func TestASeedIsAHistory(t *testing.T) {
	shape := DefaultShape(500, 50, 3)
	a, b, c := New(1, shape), New(1, shape), New(2, shape)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed made two histories")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("two seeds made one history")
	}
}

// A judge that cannot be made to say no proves nothing.
func TestCompareFindsEachKindOfDifference(t *testing.T) {
	h := New(3, DefaultShape(2000, 300, 6))
	good := replay(t, h)
	living, dead := -1, -1
	for i := range good {
		if good[i].Tombstone {
			dead = i
		} else {
			living = i
		}
	}
	for name, c := range map[string]struct {
		damage func(p []Stored) []Stored
		want   Verdict
	}{
		"lost":        {func(p []Stored) []Stored { return append(p[:living], p[living+1:]...) }, Verdict{Lost: 1}},
		"older":       {func(p []Stored) []Stored { p[living].Version--; return p }, Verdict{Stale: 1}},
		"other text":  {func(p []Stored) []Stored { p[living].Text += "!"; return p }, Verdict{Stale: 1}},
		"twice":       {func(p []Stored) []Stored { return append(p, p[living]) }, Verdict{Doubled: 1}},
		"unknown":     {func(p []Stored) []Stored { return append(p, Stored{DocumentID: "x", ChunkID: "y"}) }, Verdict{Doubled: 1}},
		"resurrected": {func(p []Stored) []Stored { p[dead].Tombstone = false; return p }, Verdict{Resurrected: 1}},
		"vector":      {func(p []Stored) []Stored { p[living].Vector = []float32{0, 0, 1}; return p }, Verdict{WrongVector: 1}},
		"no vector":   {func(p []Stored) []Stored { p[living].Vector = nil; return p }, Verdict{WrongVector: 1}},
		"vector left": {func(p []Stored) []Stored { p[dead].Vector = []float32{1}; return p }, Verdict{WrongVector: 1}},
	} {
		got := h.Compare(c.damage(append([]Stored(nil), good...)), encode)
		got.Examples = nil
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if missing, _ := h.Letters(Letters{}); missing == 0 {
		t.Error("no dead letter is missing, though there is none")
	}
	if _, wrong := h.Letters(Letters{0: true, 1: true, 2: true}); wrong == 0 {
		t.Error("no dead letter is wrong, though good records are there")
	}
}

func TestShapeIsHeeded(t *testing.T) {
	h := New(1, DefaultShape(20_000, 1000, 12))
	counts := map[string]int{}
	seen := map[string]int{}
	for _, r := range h.Records {
		counts[map[Kind]string{Valid: "valid", Malformed: "malformed", Refused: "refused"}[r.Kind]]++
		if r.Value == nil {
			counts["tombstone"]++
		} else {
			seen[string(r.Value)]++
		}
		if bytes.Contains(r.Value, []byte(`"op":"delete"`)) && !bytes.Contains(r.Value, []byte("chunk_id")) {
			counts["document"]++
		}
	}
	for _, n := range seen {
		if n > 1 {
			counts["twice"]++
		}
	}
	for name, least := range map[string]int{"malformed": 150, "refused": 20, "tombstone": 100, "document": 20, "twice": 500, "valid": 19_000} {
		if counts[name] < least {
			t.Errorf("%d %s, want at least %d", counts[name], name, least)
		}
	}
}

func TestWatchNoticesAFall(t *testing.T) {
	var w Watch
	id := chunk.NewID("s", "d", "c")
	for _, v := range []int64{1, 2, 2, 5} {
		w.See(id, v)
	}
	if w.Regressed != 0 {
		t.Errorf("%d falls of a rising version", w.Regressed)
	}
	if w.See(id, 4); w.Regressed != 1 {
		t.Error("a fall went unnoticed")
	}
}
