package consumer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

func TestFormerCloses(t *testing.T) {
	t.Parallel()
	bounds := Batch{Tokens: 10, Events: 4, Bytes: 100, Linger: time.Second}
	one := func(tokens int, bytes int64) item {
		return item{events: make([]chunk.Event, 1), tokens: tokens, bytes: bytes}
	}
	events := func(n int) item { return item{events: make([]chunk.Event, n), bytes: 1} }
	tests := []struct {
		name  string
		items []item
		age   time.Duration
		by    string // empty: not closed
		n     int
	}{
		{"nothing", nil, time.Hour, "", 0},
		{"below every bound", []item{one(3, 30), one(3, 30)}, 999 * time.Millisecond, "", 2},
		{"linger", []item{one(3, 30), one(3, 30)}, time.Second, byLinger, 2},
		{"tokens reached", []item{one(4, 1), one(6, 1)}, 0, byTokens, 2},
		{"the next one has too many tokens", []item{one(4, 1), one(5, 1), one(2, 1)}, 0, byTokens, 2},
		{"a single one has too many tokens", []item{one(11, 1), one(1, 1)}, 0, byTokens, 1},
		{"events reached", []item{events(1), events(1), events(2)}, 0, byEvents, 3},
		{"the next one has too many events", []item{events(3), events(2)}, 0, byEvents, 1},
		{"a single one has too many events", []item{events(5)}, 0, byEvents, 1},
		{"records without events count", []item{events(0), events(0), events(0), events(0)}, 0, byEvents, 4},
		{"bytes reached", []item{one(1, 60), one(1, 40)}, 0, byBytes, 2},
		{"the next one has too many bytes", []item{one(1, 60), one(1, 41)}, 0, byBytes, 1},
		{"a single one has too many bytes", []item{one(1, 101)}, 0, byBytes, 1},
		{"a full one does not wait", []item{one(10, 1)}, 0, byTokens, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Unix(0, 0)
			f := former{bounds: bounds}
			for _, it := range tt.items {
				it.at = start
				f.add(it)
			}
			by, ok := f.closed(start.Add(tt.age), bounds.Linger)
			if by != tt.by || ok != (tt.by != "") {
				t.Errorf("closed by %q (%v), want %q", by, ok, tt.by)
			}
			if f.n != tt.n {
				t.Errorf("the batch holds %d items, want %d", f.n, tt.n)
			}
		})
	}
}

// Whatever comes, the batches are the stream cut in pieces, none over a bound
// unless it is a single record, none that could have held its successor.
func TestFormerKeepsOrderAndBounds(t *testing.T) {
	t.Parallel()
	bounds := Batch{Tokens: 20, Events: 5, Bytes: 50, Linger: time.Second}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		f := former{bounds: bounds}
		var want, got []int64
		take := func() {
			batch := f.cut()
			if len(batch) == 0 {
				t.Fatal("cut nothing")
			}
			var tokens, events int
			var bytes int64
			for i := range batch {
				tokens, events, bytes = tokens+batch[i].tokens, events+batch[i].weight(), bytes+batch[i].bytes
				got = append(got, batch[i].record.Offset)
			}
			if len(batch) > 1 && (tokens > bounds.Tokens || events > bounds.Events || bytes > bounds.Bytes) {
				t.Fatalf("seed %d: a batch of %d tokens, %d events, %d bytes", seed, tokens, events, bytes)
			}
		}
		for offset := range int64(200) {
			part := &partition{gone: rng.IntN(20) == 0}
			f.add(item{
				part: part, record: &kgo.Record{Offset: offset}, events: make([]chunk.Event, rng.IntN(4)),
				tokens: rng.IntN(25), bytes: int64(rng.IntN(60)), at: time.Unix(0, 0),
			})
			if rng.IntN(10) == 0 {
				f.drop(func(it *item) bool { return it.part.gone })
			}
			if !part.gone {
				want = append(want, offset)
			}
			if _, ok := f.closed(time.Unix(0, 0), bounds.Linger); ok && rng.IntN(2) == 0 {
				f.drop(func(it *item) bool { return it.part.gone })
				if f.n > 0 {
					take()
				}
			}
		}
		f.drop(func(it *item) bool { return it.part.gone })
		for f.n > 0 {
			take()
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
		if f.bytes != 0 || len(f.items) != 0 {
			t.Fatalf("seed %d: %d bytes, %d items are left", seed, f.bytes, len(f.items))
		}
	}
}

// bare is a source without a client, fed by hand.
func bare(reg prometheus.Registerer, bounds Batch) *Source {
	cfg := DefaultConfig()
	cfg.Batch = bounds
	cfg.QuarantineAfter = 0 // there is no broker to note deaths at
	s := &Source{
		cfg: cfg, decode: decode, tokens: words, logger: quiet(),
		slot: make(chan struct{}, 1), changed: make(chan struct{}),
		parts: map[topicPartition]*partition{}, former: former{bounds: bounds}, sessions: 1,
	}
	s.metrics = newMetrics(reg, s)
	s.hard, s.abort = context.WithCancel(context.Background())
	s.intake, s.stopIntake = context.WithCancel(s.hard)
	return s
}

func (s *Source) feed(p *partition, from, to int64) {
	var items []item
	for o := from; o < to; o++ {
		items = append(items, item{part: p, record: &kgo.Record{Offset: o, LeaderEpoch: 3}, events: make([]chunk.Event, 1), bytes: 10})
	}
	s.accept(items)
}

// The linger counts from the first record that waits, not from the last.
func TestNextLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := bare(reg, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: 200 * time.Millisecond, IdleLinger: 200 * time.Millisecond})
		p := newPartition(topicPartition{topic, 0})
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.feed(p, 0, 2)
			time.Sleep(150 * time.Millisecond)
			s.feed(p, 2, 3)
		}()
		b, err := s.Next(t.Context())
		if err != nil || len(b.Events) != 3 || time.Since(start) != 1200*time.Millisecond {
			t.Errorf("%d events after %s, %v", len(b.Events), time.Since(start), err)
		}
		s.feed(p, 3, 9) // one more than fits
		for _, want := range []struct {
			events int
			wait   time.Duration
		}{{5, 0}, {1, 200 * time.Millisecond}} {
			start = time.Now()
			b, err = s.Next(t.Context())
			if err != nil || len(b.Events) != want.events || time.Since(start) != want.wait {
				t.Errorf("%d events after %s, %v; want %+v", len(b.Events), time.Since(start), err, want)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing to read: %v", err)
		}
		closed := samples(t, reg, "chunktide_batches_total")
		if closed[byLinger] != 2 || closed[byEvents] != 1 {
			t.Errorf("batches by what closed them: %v", closed)
		}
	})
}

// While no batch is in flight a record waits for the shorter linger; when one
// is, for the longer, unless it lands before.
func TestNextIsQuickWhenNothingIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bare(nil, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: time.Second, IdleLinger: 10 * time.Millisecond})
		p := newPartition(topicPartition{topic, 0})
		took := func() time.Duration {
			start := time.Now()
			b, err := s.Next(t.Context())
			if err != nil || len(b.Events) != 1 {
				t.Fatalf("%d events, %v", len(b.Events), err)
			}
			t.Cleanup(b.Ack)
			return time.Since(start)
		}
		s.feed(p, 0, 1)
		if d := took(); d != 10*time.Millisecond {
			t.Errorf("idle: after %s", d)
		}
		s.feed(p, 1, 2)
		if d := took(); d != time.Second {
			t.Errorf("with a batch in flight: after %s", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := bare(nil, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: time.Second, IdleLinger: 10 * time.Millisecond})
		p := newPartition(topicPartition{topic, 0})
		s.feed(p, 0, 1)
		b, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.feed(p, 1, 2)
		time.AfterFunc(100*time.Millisecond, b.Ack)
		start := time.Now()
		if _, err := s.Next(t.Context()); err != nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("after %s, %v: the last batch landed after 100 ms", time.Since(start), err)
		}
	})
}

func TestRoom(t *testing.T) {
	t.Parallel()
	s := bare(nil, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: time.Hour, IdleLinger: time.Hour})
	s.cfg.BufferBytes = 60
	p := newPartition(topicPartition{topic, 0})
	room := func() bool {
		c, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		saved := s.intake
		s.intake = c
		defer func() { s.intake = saved }()
		return s.room()
	}
	s.feed(p, 0, 4)
	if !room() {
		t.Error("no room below every bound")
	}
	s.feed(p, 4, 5)
	if room() {
		t.Error("room though a batch stands ready")
	}
	b, err := s.Next(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if !room() {
		t.Error("no room with 50 of 60 bytes in flight")
	}
	s.feed(p, 5, 7)
	if room() {
		t.Error("room with 70 of 60 bytes in flight and waiting")
	}
	b.Ack()
	if !room() {
		t.Error("no room after the acknowledgement")
	}
}
