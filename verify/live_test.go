package verify

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
	"chunktide/prove/history"
	"chunktide/sink"
)

// A random life goes on, with all the mistakes of producers, while one look
// follows the other: none may find a difference. In the end a control shows
// that there was something to be found.
func TestNoFalseAlarmUnderLiveWrites(t *testing.T) {
	inEachWorld(t, func(t *testing.T, w *world) {
		h := history.New(uint64(time.Now().UnixNano()), history.DefaultShape(1500, 200, partitions))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var running sync.WaitGroup
		running.Go(func() { w.work(ctx, w.cfg) })
		w.joined() // until then nobody feeds the index, and what it lacks is missing
		published := make(chan struct{})
		looked := make(chan struct{}, len(h.Records)) // never blocks the looks
		running.Go(func() {
			defer close(published)
			for i, r := range h.Records {
				w.publish(r.Partition, r.Key, r.Value)
				if i%150 == 149 { // so that several looks fall into the writing
					select {
					case <-looked:
					case <-ctx.Done():
						return
					}
				}
			}
		})
		looks, moving := 0, 0
		for done := false; !done; looks++ {
			select {
			case <-published:
				done = true
			default:
			}
			// Every second look does not wait for the workers.
			r := w.verify(w.topic(time.Duration(looks%2) * time.Minute))
			if r.Total() != 0 {
				t.Fatalf("look %d: %s\n%+v", looks, named(r), r)
			}
			if r.Newer+r.Pending > 0 {
				moving++
			}
			looked <- struct{}{}
		}
		r := w.verify(w.topic(time.Minute))
		if r.Total() != 0 || r.Pending != 0 || r.Refused == 0 || r.Malformed == 0 || r.Living == 0 {
			t.Errorf("in the end: %s\n%+v", named(r), r)
		}
		if moving == 0 {
			t.Errorf("nothing moved during %d looks: they prove nothing", looks)
		}
		stop()
		running.Wait()
		w.damage(mislay(t, w)...)
		if r := w.verify(w.topic(time.Minute)); r.Total() != 1 {
			t.Errorf("a chunk was removed by hand, and the look found %q", named(r))
		}
	})
}

// The same source as rows: what is newer than they are is no difference, and
// without a word on their time it is.
func TestRowsAreASource(t *testing.T) {
	inEachWorld(t, func(t *testing.T, w *world) {
		w.fill()
		rows := Rows{Events: rowsOf(w), AsOf: w.version}
		if r := w.verify(rows); r.Total() != 0 || r.Events != (chunks-10)*3/2 || r.Malformed != 1 {
			t.Errorf("%s\n%+v", named(r), r)
		}
		w.change("c00", "edited since")
		w.change("c01", "")
		w.change("new", "added since")
		w.drain()
		w.damage(remove("c02"), orphan("zz", map[string]any{"ver": int64(3), "tomb": false}))
		if r := w.verify(rows); named(r) != "missing c02, orphan zz" || r.Newer < 2 {
			t.Errorf("%s\n%+v", named(r), r)
		}
		rows.AsOf = 0
		r := w.verify(rows)
		if named(r) != "missing c02, orphan new, orphan zz" {
			t.Errorf("%s\n%+v", named(r), r)
		}
		rows.AsOf = w.version - 3
		w.repair(rows, w.verify(rows))
		if r := w.verify(rows); r.Total() != 0 {
			t.Errorf("after the repair: %s", named(r))
		}
	})
}

// rowsOf reads what fill has published, as rows: the living chunks, with the
// versions that they have, each document's delete left out.
func rowsOf(w *world) func(context.Context) iter.Seq2[chunk.Event, error] {
	return func(context.Context) iter.Seq2[chunk.Event, error] {
		return func(yield func(chunk.Event, error) bool) {
			if !yield(chunk.Event{}, chunk.Permanentf(chunk.ReasonBrokenJSON, "a bad row")) {
				return
			}
			for i := range chunks - 10 {
				v, text := chunk.Version(i+1), fmt.Sprintf("text number %d", i)
				if i >= chunks-20 {
					v, text = chunk.Version(chunks+i-(chunks-20)+1), "the edited "+text
				}
				name := fmt.Sprintf("c%02d", i)
				e := chunk.Event{Op: chunk.Upsert, ID: chunk.NewID("s", "d", name), Source: "s", DocumentID: "d", ChunkID: name, Text: text, Version: v, Time: clock}
				for range 1 + i%2 { // some twice
					if !yield(e, nil) {
						return
					}
				}
			}
		}
	}
}

// mislay removes some living chunk.
func mislay(t *testing.T, w *world) (operations []*qdrant.PointsUpdateOperation) {
	t.Helper()
	err := w.index.Outline(t.Context(), func(r sink.Record) error {
		if !r.Tombstone && len(operations) == 0 {
			operations = append(operations, removePoint(r.ID))
		}
		return nil
	})
	if err != nil || len(operations) == 0 {
		t.Fatal(err, "nothing lives")
	}
	return operations
}
