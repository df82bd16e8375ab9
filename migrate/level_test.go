package migrate

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
	"chunktide/sink"
)

// shelf is a collection as the test says; later, if set, is what it holds from
// then on.
type shelf struct {
	records []sink.Record
	later   []sink.Record
	at      time.Time
	err     error
}

func (s *shelf) now() []sink.Record {
	if s.later != nil && !time.Now().Before(s.at) {
		return s.later
	}
	return s.records
}

func (s *shelf) Outline(_ context.Context, visit func(sink.Record) error) error {
	for _, r := range s.now() {
		if err := visit(r); err != nil {
			return err
		}
	}
	return s.err
}

func (s *shelf) Read(_ context.Context, ids []chunk.ID, _ bool) (map[chunk.ID]chunk.Stored, error) {
	out := map[chunk.ID]chunk.Stored{}
	for _, r := range s.now() {
		if slices.Contains(ids, r.ID) {
			out[r.ID] = chunk.Stored{Version: r.Version, Tombstone: r.Tombstone, Hash: r.Hash}
		}
	}
	return out, nil
}

func record(id byte, v chunk.Version, text string) sink.Record {
	return sink.Record{ID: chunk.ID{id}, Version: v, Hash: chunk.HashText(text)}
}

func grave(id byte, v chunk.Version) sink.Record {
	return sink.Record{ID: chunk.ID{id}, Version: v, Tombstone: true}
}

func TestLevelNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b   []sink.Record
		living int
		differ []byte
	}{
		"nothing":                      {},
		"the same":                     {a: []sink.Record{record(1, 5, "x"), grave(2, 3)}, b: []sink.Record{record(1, 5, "x"), grave(2, 3)}, living: 1},
		"a tombstone that is missing":  {a: []sink.Record{grave(1, 5)}},
		"tombstones of two versions":   {a: []sink.Record{grave(1, 5)}, b: []sink.Record{grave(1, 6)}},
		"a chunk that is missing":      {a: []sink.Record{record(1, 5, "x"), record(2, 5, "x")}, b: []sink.Record{record(2, 5, "x")}, living: 2, differ: []byte{1}},
		"a chunk too many, at the end": {a: []sink.Record{record(1, 5, "x")}, b: []sink.Record{record(1, 5, "x"), record(9, 1, "y")}, living: 1, differ: []byte{9}},
		"one that was deleted":         {a: []sink.Record{grave(1, 5)}, b: []sink.Record{record(1, 4, "x")}, differ: []byte{1}},
		"one that lives":               {a: []sink.Record{record(1, 4, "x")}, b: []sink.Record{grave(1, 5)}, living: 1, differ: []byte{1}},
		"another version":              {a: []sink.Record{record(1, 4, "x")}, b: []sink.Record{record(1, 5, "x")}, living: 1, differ: []byte{1}},
		"another text":                 {a: []sink.Record{record(1, 4, "x")}, b: []sink.Record{record(1, 4, "y")}, living: 1, differ: []byte{1}},
	} {
		d, err := Level(t.Context(), &shelf{records: c.a}, &shelf{records: c.b}, 0)
		var got []byte
		for _, id := range d.Examples {
			got = append(got, id[0])
		}
		if err != nil || d.Count != len(c.differ) || d.Living != c.living || !slices.Equal(got, c.differ) {
			t.Errorf("%s: %+v, %v; want %v of %d", name, d, err, c.differ, c.living)
		}
	}
	broken := errors.New("broken")
	if _, err := Level(t.Context(), &shelf{}, &shelf{err: broken}, 0); !errors.Is(err, broken) {
		t.Errorf("a collection that cannot be read: %v", err)
	}
	many := make([]sink.Record, mostSuspects+100)
	for i := range many {
		many[i] = sink.Record{ID: chunk.ID{byte(i >> 16), byte(i >> 8), byte(i)}, Version: 1}
	}
	if d, err := Level(t.Context(), &shelf{records: many}, &shelf{}, time.Hour); err != nil || d.Count != len(many) || len(d.Examples) != maxExamples {
		t.Errorf("a whole collection that is missing: %d of %d, %v", d.Count, len(many), err)
	}
}

// A change that reaches one collection before the other is no difference, if
// there is the patience to wait for it.
func TestLevelWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &shelf{records: []sink.Record{record(1, 6, "edited"), record(2, 6, "edited")}}
		b := &shelf{records: []sink.Record{record(1, 5, "x"), record(2, 5, "x")}, later: a.records, at: time.Now().Add(3 * time.Second)}
		if d, err := Level(t.Context(), a, b, time.Second); err != nil || d.Count != 2 {
			t.Errorf("after a second: %+v, %v", d, err)
		}
		if d, err := Level(t.Context(), a, b, 5*time.Second); err != nil || d.Count != 0 {
			t.Errorf("after three: %+v, %v", d, err)
		}
	})
}

// drawer stores vectors.
type drawer map[chunk.ID]chunk.Stored

func (d drawer) Read(_ context.Context, ids []chunk.ID, _ bool) (map[chunk.ID]chunk.Stored, error) {
	out := map[chunk.ID]chunk.Stored{}
	for _, id := range ids {
		if st, ok := d[id]; ok {
			out[id] = st
		}
	}
	return out, nil
}

func (d drawer) Events(_ context.Context, _ chunk.ID, visit func(chunk.ID, chunk.Event, error) error) error {
	for id := range byte(5) {
		if st, ok := d[chunk.ID{id}]; ok {
			if err := visit(chunk.ID{id}, chunk.Event{ID: chunk.ID{id}, Op: chunk.Upsert, Text: st.Text}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestCutterCutsWhatIsStored(t *testing.T) {
	t.Parallel()
	stored := func(text string, vector ...float32) chunk.Stored {
		return chunk.Stored{Text: text, Hash: chunk.HashText(text), Embedding: chunk.Embedding{Vector: vector, Tokens: 7, Truncated: true}}
	}
	d := drawer{{1}: stored("one", 1, 2, 3), {2}: stored("two", 4, 5, 6), {3}: stored("bad", 0, 0, 1)}
	refused := chunk.Permanentf(chunk.ReasonBadVector, "zeros")
	cut := func(v []float32, dim int) ([]float32, error) {
		if v[0] == 0 {
			return nil, refused
		}
		return v[:dim], nil
	}
	var asked []string
	rest := func(_ context.Context, texts []string) ([]chunk.Embedding, error) {
		asked = append(asked, texts...)
		out := make([]chunk.Embedding, len(texts))
		for i := range out {
			out[i].Vector = []float32{9, 9}
		}
		return out, nil
	}
	c := NewCutter(d, d, 2, 100, cut, rest)
	if err := c.Events(t.Context(), chunk.ID{}, func(chunk.ID, chunk.Event, error) error { return nil }); err != nil {
		t.Fatal(err)
	}
	// Two is edited before it is asked for; nobody handed out the last.
	d[chunk.ID{2}] = stored("two, edited", 7, 7, 7)
	got, err := c.Encode(t.Context(), []string{"one", "two", "bad", "unknown"})
	var rejected *chunk.Rejected
	if !errors.As(err, &rejected) || len(rejected.Texts) != 1 || !errors.Is(rejected.Texts[2], refused) {
		t.Errorf("the error is %v", err)
	}
	if !slices.Equal(got[0].Vector, []float32{1, 2}) || got[0].Tokens != 7 || !got[0].Truncated || !slices.Equal(got[1].Vector, []float32{9, 9}) ||
		got[2].Vector != nil || !slices.Equal(asked, []string{"two", "unknown"}) {
		t.Errorf("got %v, asked for %v", got, asked)
	}
	if cut, encoded := c.Counts(); cut != 2 || encoded != 2 {
		t.Errorf("counted %d and %d", cut, encoded)
	}
	// It forgets the oldest, and then the model is asked.
	c = NewCutter(d, d, 2, 1, cut, rest)
	if err := c.Events(t.Context(), chunk.ID{}, func(chunk.ID, chunk.Event, error) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encode(t.Context(), []string{"one"}); err != nil || asked[len(asked)-1] != "one" {
		t.Errorf("asked for %v, %v", asked, err)
	}
}
