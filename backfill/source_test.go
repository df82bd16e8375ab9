package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chunktide/chunk"
)

// list is an input of so many rows; those in bad are malformed, and after
// broken rows it cannot be read on.
type list struct {
	rows   int64
	bad    map[int64]bool
	broken int64
	name   string
}

func (l *list) Identity() string { return l.name }
func (l *list) Total() int64     { return l.rows }

func (l *list) Rows(_ context.Context, from Cursor) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for n := from.Row + 1; n <= l.rows; n++ {
			if l.broken > 0 && n > l.broken {
				yield(Row{}, errors.New("the disk is broken"))
				return
			}
			row := Row{Place: Place{File: "list", Row: n}, Next: Cursor{Row: n}, Done: n, Raw: fmt.Appendf(nil, `{"n":%d}`, n)}
			if l.bad[n] {
				row.Err = chunk.Permanentf(chunk.ReasonBrokenJSON, "broken")
			} else {
				row.Events = []chunk.Event{{Op: chunk.Upsert, ChunkID: fmt.Sprint(n), Text: "ten words"}}
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// shelf keeps notes in memory.
type shelf struct {
	mu    sync.Mutex
	notes map[string]any
	err   error
}

func (s *shelf) Notes(context.Context) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.notes), nil
}

func (s *shelf) Note(_ context.Context, notes map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.notes == nil {
		s.notes = map[string]any{}
	}
	maps.Copy(s.notes, notes)
	return nil
}

// start begins or goes on.
func start(t *testing.T, in Input, on *shelf, restart bool) (*Source, Reached) {
	t.Helper()
	checkpoint, reached, err := OpenCheckpoint(t.Context(), on, in.Identity(), restart)
	if err != nil {
		t.Fatal(err)
	}
	bounds := Batch{Tokens: 100, Events: 4, Bytes: 1 << 20}
	return NewSource(bounds, SourceParts{
		Input: in, Tokens: func(string) int { return 10 }, Rejects: NewRejects(filepath.Join(t.TempDir(), "r")), Checkpoint: checkpoint, Reached: reached,
	}), reached
}

func nextOf(t *testing.T, s *Source) chunk.Batch {
	t.Helper()
	b, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shut(t *testing.T, s *Source) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatWasAcknowledgedIsReached(t *testing.T) {
	in, on := &list{rows: 10, name: "ten"}, &shelf{}
	s, _ := start(t, in, on, false)
	first, second := nextOf(t, s), nextOf(t, s)
	if len(first.Events) != 4 || len(second.Events) != 4 {
		t.Fatalf("batches of %d and %d events, want 4", len(first.Events), len(second.Events))
	}
	first.Ack()
	first.Ack() // once more does not count
	shut(t, s)  // the second was read, and not acknowledged

	s, reached := start(t, in, on, false)
	if reached.Rows != 4 || reached.Cursor.Row != 4 || reached.Finished || reached.At.IsZero() {
		t.Fatalf("reached %+v", reached)
	}
	for _, want := range []string{"5", "9"} {
		b := nextOf(t, s)
		if got := b.Events[0].ChunkID; got != want {
			t.Errorf("goes on at row %s, want %s", got, want)
		}
		b.Ack()
	}
	if _, err := s.Next(t.Context()); err != io.EOF { //nolint:errorlint // as the pipeline asks
		t.Errorf("at the end: %v", err)
	}
	shut(t, s)

	s, reached = start(t, in, on, false)
	if !reached.Finished || reached.Rows != 10 {
		t.Errorf("reached %+v", reached)
	}
	if _, err := s.Next(t.Context()); err != io.EOF { //nolint:errorlint // as above
		t.Errorf("after the end: %v", err)
	}
	shut(t, s)
	// Another input, the same from its start, and the control: a restart.
	for name, again := range map[string]struct {
		in      *list
		restart bool
	}{"another input": {&list{rows: 10, name: "other"}, false}, "no identity": {&list{rows: 10}, false}, "restart": {in, true}} {
		s, reached := start(t, again.in, on, again.restart)
		if b := nextOf(t, s); b.Events[0].ChunkID != "1" || reached.Rows != 0 {
			t.Errorf("%s begins at %s", name, b.Events[0].ChunkID)
		}
		shut(t, s)
	}
}

// A reading that broke off, or was called off, is no end.
func TestAnInterruptedReadingIsNotFinished(t *testing.T) {
	in, on := &list{rows: 10, broken: 6, name: "broken"}, &shelf{}
	s, _ := start(t, in, on, false)
	nextOf(t, s).Ack()
	for range 2 {
		if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "disk") {
			t.Errorf("%v", err)
		}
	}
	shut(t, s)
	s, reached := start(t, &list{rows: 10, name: "broken"}, on, false)
	if reached.Finished || reached.Rows != 4 {
		t.Errorf("reached %+v", reached)
	}
	nextOf(t, s).Ack()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Next(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	shut(t, s)
	if _, reached = start(t, in, on, false); reached.Finished || reached.Rows != 8 {
		t.Errorf("reached %+v", reached)
	}
}

func TestBatchesHeedEveryBound(t *testing.T) {
	for name, bounds := range map[string]Batch{
		"events": {Tokens: 1000, Events: 3, Bytes: 1 << 20}, "tokens": {Tokens: 30, Events: 100, Bytes: 1 << 20}, "bytes": {Tokens: 1000, Events: 100, Bytes: 3 * 7},
		"one that exceeds it": {Tokens: 5, Events: 100, Bytes: 1 << 20},
	} {
		s := NewSource(bounds, SourceParts{Input: &list{rows: 9}, Tokens: func(string) int { return 10 }, Rejects: NewRejects("")})
		want := 3
		if bounds.Tokens == 5 {
			want = 1
		}
		for range 9 / want {
			if b := nextOf(t, s); len(b.Events) != want {
				t.Errorf("%s: %d events in a batch, want %d", name, len(b.Events), want)
			}
		}
		if _, err := s.Next(t.Context()); err != io.EOF { //nolint:errorlint // as the pipeline asks
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoRowIsLostWithoutAWord(t *testing.T) {
	in, on := &list{rows: 8, bad: map[int64]bool{2: true, 7: true}, name: "some bad"}, &shelf{}
	s, _ := start(t, in, on, false)
	path := s.parts.Rejects.Path()
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before there is a reject")
	}
	b := nextOf(t, s)
	if got := rejectsIn(t, path); len(got) != 1 || got[0].Place != "list:2" || got[0].Reason != chunk.ReasonBrokenJSON || string(got[0].Row) != `{"n":2}` {
		t.Fatalf("before the batch is handed out: %+v", got)
	}
	refused := chunk.Rejection{Event: 2, Stage: "encode", Err: chunk.Permanentf(chunk.ReasonBadVector, "no vector")}
	for range 2 { // as another round of the pipeline may do
		if err := b.Reject([]chunk.Rejection{refused}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Reject([]chunk.Rejection{{Event: 9}}); err == nil {
		t.Error("an event that is not there was rejected")
	}
	b.Ack()
	nextOf(t, s).Ack()
	if _, err := s.Next(t.Context()); err != io.EOF { //nolint:errorlint // as the pipeline asks
		t.Error(err)
	}
	shut(t, s)
	got := rejectsIn(t, path)
	if len(got) != 3 || got[1].Place != "list:4" || got[1].Stage != "encode" || got[2].Place != "list:7" {
		t.Errorf("%+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: the rejects hold texts", info.Mode(), err)
	}
	if _, reached := start(t, in, on, false); reached.Rejected != 3 {
		t.Errorf("reached %+v", reached)
	}
}

func rejectsIn(t *testing.T, path string) (out []Reject) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var r Reject
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// Rows that cannot be told of are not passed over.
func TestRejectsThatCannotBeWrittenEndIt(t *testing.T) {
	s := NewSource(DefaultConfig().Batch, SourceParts{
		Input: &list{rows: 3, bad: map[int64]bool{1: true}}, Tokens: func(string) int { return 1 }, Rejects: NewRejects(filepath.Join(t.TempDir(), "no", "folder")),
	})
	if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "--rejects") {
		t.Errorf("%v", err)
	}
}

func TestACheckpointThatCannotBeWrittenEndsIt(t *testing.T) {
	on := &shelf{err: errors.New("permission denied")}
	s, _ := start(t, &list{rows: 100, name: "x"}, on, false)
	nextOf(t, s).Ack()
	<-s.parts.Checkpoint.done
	if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v", err)
	}
	if err := s.Close(t.Context()); err == nil {
		t.Error("closed without a word")
	}
}

func TestMeterReckonsWhatIsLeft(t *testing.T) {
	now := time.Unix(0, 0)
	m := NewMeter(2)
	m.start, m.now = now, func() time.Time { return now.Add(10 * time.Second) }
	m.Add(Counts{Events: 50, Tokens: 1_000_000})
	m.Add(Counts{Events: 50, Tokens: 1_000_000})
	// From 20 to 60 of 100 in ten seconds.
	r := m.Read(60, 20, 100)
	if *r.Part != .6 || r.EventsPerSecond != 10 || r.Cost != 4 || *r.Left != (Left{Events: 100, Tokens: 2_000_000, Cost: 4, Seconds: 10}) {
		t.Errorf("%+v, left %+v", r, r.Left)
	}
	if r := m.Read(20, 20, 100); r.Left != nil {
		t.Error("nothing was done, and something is expected")
	}
	if r := m.Read(60, 20, 0); r.Left != nil || r.Part != nil {
		t.Error("the size is not known, and something is expected")
	}
}

func TestSampleIsFairAndBounded(t *testing.T) {
	seen := map[string]int{}
	for seed := range 400 {
		s := NewSample(10)
		for range seed { // so that the draws differ
			s.rng.Uint64()
		}
		for i := range 100 {
			s.Add(fmt.Sprint(i / 50))
		}
		if len(s.Texts) != 10 {
			t.Fatalf("%d texts", len(s.Texts))
		}
		for _, text := range s.Texts {
			seen[text]++
		}
	}
	if seen["0"] < 1700 || seen["1"] < 1700 {
		t.Errorf("drawn %v, want about 2000 of each half", seen)
	}
}
