package verify

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"chunktide/chunk"
	"chunktide/prove/history"
)

// logOf decodes a history as a topic, with the events that the encoder refuses
// marked as dead letters.
func logOf(t *testing.T, h *history.History) (events []entry, refused map[Place]bool) {
	t.Helper()
	decoder, err := chunk.NewDecoder(chunk.DefaultDecoderConfig())
	if err != nil {
		t.Fatal(err)
	}
	refused = map[Place]bool{}
	offsets := map[int32]int64{}
	for _, r := range h.Records {
		at := Place{Part: r.Partition, Offset: offsets[r.Partition]}
		offsets[r.Partition]++
		decoded, err := decoder.Decode(chunk.Record{
			Origin: chunk.Origin{Topic: "t", Partition: r.Partition, Offset: at.Offset}, Timestamp: r.Time, Key: r.Key, Value: r.Value,
		})
		if err != nil {
			continue
		}
		refused[at] = r.Kind == history.Refused
		for _, e := range decoded {
			events = append(events, entryOf(&e, at))
		}
	}
	return events, refused
}

func entryOf(e *chunk.Event, at Place) entry {
	return entry{
		doc: chunk.NewDocumentID(e.Source, e.DocumentID), id: e.ID, version: e.Version, hash: chunk.HashText(e.Text), op: e.Op,
		flag: e.TextUnchanged, place: at, time: e.Time.UnixNano(),
	}
}

// Every chunk is in a state that the oracle says, whatever the order of the
// partitions. The control leaves the deletes of documents out of the log.
func TestFoldIsTheFoldOfTheLog(t *testing.T) {
	living, wrong := 0, 0
	for seed := range uint64(30) {
		h := history.New(seed, history.DefaultShape(2000, 300, 6))
		events, refused := logOf(t, h)
		doubt := func(p Place) Doubt {
			if refused[p] {
				return Refused
			}
			return Certain
		}
		got := foldAll(events, doubt, seed)
		control := foldAll(slices.DeleteFunc(events, func(e entry) bool { return e.op == chunk.DeleteDocument }), doubt, seed)
		for id, want := range h.Want {
			x := got[id]
			if x == nil {
				t.Fatalf("seed %d: %s is not in the fold", seed, want.ChunkID)
			}
			// A refused event leaves two outcomes; the oracle's is one of them.
			if !meets(x, want) || len(x.outcomes) > 1 && !anyRefused(x, refused) {
				t.Fatalf("seed %d: %+v, want %+v", seed, x, want)
			}
			if !meets(control[id], want) {
				wrong++
			}
			if want.Living {
				living++
			}
		}
	}
	if living < 3000 {
		t.Errorf("only %d chunks live: too few to say anything", living)
	}
	if wrong == 0 {
		t.Error("without the deletes of documents the fold is the same: this test proves nothing")
	}
}

func foldAll(events []entry, doubt func(Place) Doubt, seed uint64) map[chunk.ID]*expect {
	byDoc := map[chunk.ID][]entry{}
	for _, e := range events {
		byDoc[e.doc] = append(byDoc[e.doc], e)
	}
	out := map[chunk.ID]*expect{}
	for _, list := range byDoc {
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		maps.Copy(out, fold(list, doubt).chunks)
	}
	return out
}

func meets(x *expect, want history.State) bool {
	if x == nil || x.absent && !want.Living {
		return x != nil
	}
	return slices.ContainsFunc(x.outcomes, func(o outcome) bool {
		return o.living == want.Living && (!o.living || int64(o.version) == want.Version && o.hash == chunk.HashText(want.Text))
	})
}

func anyRefused(x *expect, refused map[Place]bool) bool {
	for _, o := range x.outcomes {
		if refused[o.place] {
			return true
		}
	}
	return false
}

var clock = time.Unix(1_700_000_000, 0)

// ev is an event of one chunk; version 0 is a delete without one, "" a delete,
// "…" a text that was left out.
func ev(part int32, offset int64, v chunk.Version, text string) entry {
	e := entry{
		doc: chunk.NewDocumentID("s", "d"), id: chunk.NewID("s", "d", "c"), version: v, op: chunk.Upsert, hash: chunk.HashText(text),
		place: Place{Part: part, Offset: offset}, time: clock.Add(time.Duration(offset) * time.Second).UnixNano(),
	}
	switch {
	case v == 0 || text == "":
		e.op = chunk.Delete
	case text == "…":
		e.flag = true
	}
	return e
}

func whole(e entry) entry {
	e.op, e.id = chunk.DeleteDocument, e.doc
	return e
}

func TestFoldOfOneChunk(t *testing.T) {
	type outcomes []string // "text@version", "†"
	for name, c := range map[string]struct {
		events []entry
		doubt  map[Place]Doubt
		want   outcomes
		absent bool
	}{
		"highest wins":                     {[]entry{ev(0, 1, 2, "b"), ev(0, 2, 1, "a")}, nil, outcomes{"b@2"}, false},
		"the first of equal ones":          {[]entry{ev(0, 1, 2, "b"), ev(0, 2, 2, "a")}, nil, outcomes{"b@2"}, false},
		"equal ones on two partitions":     {[]entry{ev(0, 1, 2, "b"), ev(1, 2, 2, "a"), ev(1, 3, 2, "c")}, nil, outcomes{"b@2", "a@2"}, false},
		"deleted":                          {[]entry{ev(0, 1, 2, "b"), ev(0, 2, 3, "")}, nil, outcomes{"†"}, false},
		"late delete":                      {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 3, "")}, nil, outcomes{"b@4"}, false},
		"document deleted":                 {[]entry{ev(0, 1, 4, "b"), whole(ev(1, 2, 5, ""))}, nil, outcomes{"†"}, false},
		"document deleted, same version":   {[]entry{ev(0, 1, 5, "b"), whole(ev(1, 2, 5, ""))}, nil, outcomes{"b@5"}, false},
		"versionless after":                {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 0, "")}, nil, outcomes{"†"}, false},
		"versionless before":               {[]entry{ev(0, 2, 4, "b"), ev(0, 1, 0, "")}, nil, outcomes{"b@4"}, false},
		"versionless, then the same":       {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 0, ""), ev(0, 3, 4, "b")}, nil, outcomes{"†"}, false},
		"versionless, then higher":         {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 0, ""), ev(0, 3, 5, "c")}, nil, outcomes{"c@5"}, false},
		"versionless elsewhere, later":     {[]entry{ev(0, 1, 4, "b"), ev(1, 2, 0, "")}, nil, outcomes{"†", "b@4"}, false},
		"versionless elsewhere, earlier":   {[]entry{ev(0, 3, 4, "b"), ev(1, 2, 0, "")}, nil, outcomes{"b@4"}, false},
		"versionless of the document":      {[]entry{ev(0, 1, 4, "b"), whole(ev(0, 2, 0, ""))}, nil, outcomes{"†"}, false},
		"nothing but a versionless one":    {[]entry{ev(0, 2, 0, "")}, nil, nil, true},
		"pending":                          {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 5, "c")}, map[Place]Doubt{{0, 2, 0}: Pending}, outcomes{"c@5", "b@4"}, false},
		"all pending":                      {[]entry{ev(0, 2, 5, "c")}, map[Place]Doubt{{0, 2, 0}: Pending}, outcomes{"c@5"}, true},
		"pending delete of the document":   {[]entry{ev(0, 1, 4, "b"), whole(ev(1, 2, 5, ""))}, map[Place]Doubt{{1, 2, 0}: Pending}, outcomes{"†", "b@4"}, false},
		"pending versionless":              {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 0, "")}, map[Place]Doubt{{0, 2, 0}: Pending}, outcomes{"†", "b@4"}, false},
		"refused":                          {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 5, "c")}, map[Place]Doubt{{0, 2, 0}: Refused}, outcomes{"b@4", "c@5"}, false},
		"text left out":                    {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 5, "…")}, nil, outcomes{"b@5"}, false},
		"text left out twice":              {[]entry{ev(0, 1, 4, "b"), ev(0, 2, 5, "…"), ev(0, 3, 6, "…")}, nil, outcomes{"b@6"}, false},
		"text left out, another order":     {[]entry{ev(0, 9, 4, "b"), ev(0, 2, 5, "…")}, nil, outcomes{"*@5"}, false},
		"text left out, the first is gone": {[]entry{ev(0, 2, 5, "…")}, nil, outcomes{"*@5"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			doubt := func(p Place) Doubt { return c.doubt[p] }
			x := fold(c.events, doubt).chunks[chunk.NewID("s", "d", "c")]
			var got outcomes
			for _, o := range x.outcomes {
				got = append(got, show(o))
			}
			if len(got) != len(c.want) || x.absent != c.absent {
				t.Fatalf("%q, absent %t; want %q, %t", got, x.absent, c.want, c.absent)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

func show(o outcome) string {
	if !o.living {
		return "†"
	}
	text := "?"
	for _, known := range []string{"a", "b", "c"} {
		if o.hash == chunk.HashText(known) {
			text = known
		}
	}
	if o.loose {
		text = "*"
	}
	return text + "@" + string(rune('0'+o.version))
}
