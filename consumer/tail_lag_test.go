package consumer

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A worker that goes on passes an empty tail too: else its lag would never be
// zero, and nobody would scale it down.
func TestAnEmptyTailIsNoLag(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batches [][]byte
		want    int
	}{
		"behind a record":  {[][]byte{cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)}, 1},
		"nothing is there": {[][]byte{cleaned(t, 0, 3, false)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.produce(t, 0, "a", "gone", "gone as well")
			w.compacted(t, map[int32][][]byte{0: c.batches})
			cfg := w.config()
			cfg.endsEvery = 5 * time.Millisecond
			reg := prometheus.NewRegistry()
			s := open(t, cfg, reg)
			if c.want > 0 {
				b := next(t, s)
				eventually(t, "the end is known", func() bool { return s.Lag() == 3 })
				b.Ack()
			}
			eventually(t, "the tail is passed", func() bool {
				at, err := w.adm.FetchOffsets(ctx(t), group)
				o, _ := at.Lookup(topic, 0)
				return err == nil && o.At == 3
			})
			if b := s.Backlog(); b.Events != 0 || b.Drain != 0 || b.Tokens != 0 {
				t.Errorf("backlog %+v, want none", b)
			}
			if got := samples(t, reg, "chunktide_durable_offset")["0/docs"]; got != 3 {
				t.Errorf("durable up to %v, want 3", got)
			}
			g, err := OpenGroup(ctx(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if state, err := g.State(ctx(t)); err != nil || state.Lag != 0 {
				t.Errorf("the group is %d behind, %v", state.Lag, err)
			}
			w.produce(t, 0, "b")
			if got := next(t, s).Events; len(got) != 1 || got[0].Text != "b" {
				t.Errorf("then it reads %q", texts(got))
			}
		})
	}
}

// Control: without the looks the lag of an empty tail stays.
func TestControlWithoutTheLooksAnEmptyTailStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "gone", "gone as well")
	w.compacted(t, map[int32][][]byte{0: {cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)}})
	cfg := w.config()
	cfg.endsEvery = -1
	s := w.open(t, cfg)
	next(t, s).Ack()
	w.waitCommitted(t, 0, 1)
	if lag := s.Lag(); lag != 2 {
		t.Errorf("lag %d, want 2: something else passes the tail, and the test above shows nothing", lag)
	}
}

// Only what is read, done and quiet is asked about.
func TestTailsThatMayBeEmpty(t *testing.T) {
	t.Parallel()
	id := topicPartition{topic, 0}
	for name, c := range map[string]struct {
		change func(*Source, *partition)
		want   int64 // where the tail begins; -1 for none
	}{
		"read and done":               {func(*Source, *partition) {}, 5},
		"no offset, all to be read":   {func(_ *Source, p *partition) { p.next, p.first, p.start = -1, -1, 2 }, 2},
		"no offset, nothing known":    {func(_ *Source, p *partition) { p.next, p.first = -1, -1 }, -1},
		"its offset is not known yet": {func(_ *Source, p *partition) { p.next, p.first, p.start, p.begun = -1, -1, 2, false }, -1},
		"something came just now":     {func(_ *Source, p *partition) { p.moved = time.Now() }, -1},
		"in flight":                   {func(_ *Source, p *partition) { p.handOut(&kgo.Record{Offset: 4}, 0) }, -1},
		"waiting":                     {func(s *Source, p *partition) { s.feed(p, 4, 5) }, -1},
		"reading has failed":          {func(s *Source, _ *partition) { s.err = io.ErrUnexpectedEOF }, -1},
		"being decoded":               {func(s *Source, _ *partition) { s.reading = true }, -1},
		"being taken away":            {func(_ *Source, p *partition) { p.stopping = true }, -1},
		"no room":                     {func(s *Source, _ *partition) { s.inFlight = s.cfg.BufferBytes + 1 }, -1},
		"of another":                  {func(s *Source, p *partition) { s.forget(p) }, -1},
		"level":                       {func(_ *Source, p *partition) { p.done = kgo.EpochOffset{Offset: 8} }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := bare(nil, Batch{Events: 10, Tokens: 1000, Bytes: 1000, Linger: time.Second})
			p := newPartition(id)
			p.first, p.next, p.begun = 3, 5, true
			s.parts[id] = p
			c.change(s, p)
			from := int64(-1)
			if tails := s.tails(map[topicPartition]int64{id: 8}, time.Minute); len(tails) > 0 {
				from = tails[0].From
			}
			if from != c.want {
				t.Errorf("the tail begins at %d, want %d", from, c.want)
			}
		})
	}
}

// The deaths at a commit were of records that are gone; one in a range that
// reaches further is still in doubt.
func TestPassingATailOutlivesItsDeaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ found, want doubt }{
		{doubt{deaths: 2}, doubt{}},
		{doubt{deaths: 3, until: 8}, doubt{}},
		{doubt{deaths: 3, until: 20}, doubt{until: 20}},
	} {
		p := newPartition(topicPartition{topic, 0})
		p.first, p.next, p.found, p.note, p.noted = 5, 5, c.found, c.found, c.found
		p.pass(8)
		if p.note != c.want || p.found != c.want || !p.committable() || p.proven {
			t.Errorf("%+v becomes %+v, %+v", c.found, p.found, p.note)
		}
		p.mark(&kgo.Record{Offset: 9})
		if p.note.deaths != 1 {
			t.Errorf("after %+v the next record is marked %+v", c.found, p.note)
		}
	}
}

// What was polled when reading failed is not done, though nothing of it waits or
// is in flight.
func TestAFailedReadPassesNoTail(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]bool{"of a source that ends": true, "of one that goes on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.produce(t, 0, "a", "bug")
			cfg := w.config()
			cfg.StopAtEnd, cfg.endsEvery, cfg.Batch.Events = end, 5*time.Millisecond, 1
			s := w.open(t, cfg)
			if err := nextErr(t, s); errors.Is(err, io.EOF) {
				t.Errorf("it ends with %v", err)
			}
			s.settleRead()
			s.settle(map[topicPartition]int64{{topic, 0}: 2}, 0)
			shut(t, s)
			if at := w.committed(t, 0); at != 1 {
				t.Errorf("committed %d, want what was done, 1", at)
			}
		})
	}
}

// Another leader may not have compacted its log yet. What it still has of the
// tail is read, and the commit does not go back.
func TestATailThatComesBackIsRead(t *testing.T) {
	s := doubtful(t, 5, doubt{}, nil, 5)
	p := s.parts[topicPartition{topic, 0}]
	s.cut(s.former.cut()).batch.ack()
	p.pass(9)
	items, err := s.bind(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: topic, Partitions: []kgo.FetchPartition{{
		HighWatermark: 9, Records: []*kgo.Record{{Topic: topic, Offset: 7}},
	}}}}}})
	if err != nil || len(items) != 1 {
		t.Fatalf("%d records, %v", len(items), err)
	}
	s.accept(items)
	s.cut(s.former.cut()).batch.ack()
	if p.done.Offset != 9 || len(p.spans) > 0 {
		t.Errorf("done is %d, want 9", p.done.Offset)
	}
}
