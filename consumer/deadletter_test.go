package consumer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
)

func timeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func header(r *kgo.Record, key string) string {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return "(none)"
}

func wantHeaders(t testing.TB, r *kgo.Record, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got := header(r, key); got != value {
			t.Errorf("header %s is %q, want %q", key, got, value)
		}
	}
}

func refuse(event int, stage string, err error) chunk.Rejection {
	return chunk.Rejection{Event: event, Stage: stage, Err: err}
}

// A malformed record is in the dead letters before the batch that covers it
// is even handed out, hence before its offset can be committed. Those around
// it are not held up.
func TestMalformedRecordsGoToTheDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	at := time.UnixMilli(1_700_000_000_123)
	bad := &kgo.Record{
		Topic: topic, Key: []byte("k\x00"), Value: []byte("bad \xff"), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte{0, 255}}},
	}
	w.produce(t, 0, "before")
	if err := w.cl.ProduceSync(ctx(t), bad).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.produce(t, 0, "after")
	// The dead-letter topic has too few replicas to take anything.
	fault := w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters, Err: kerr.NotEnoughReplicas, Count: -1})
	reg := prometheus.NewRegistry()
	s := open(t, w.config(), reg)
	short, cancel := timeout(t, 400*time.Millisecond)
	defer cancel()
	if _, err := s.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("with its dead letter not durable the batch was handed out (%v)", err)
	}
	if n := samples(t, reg, "chunktide_dead_letters_total")["broken_json"]; n != 0 {
		t.Errorf("%v dead letters are counted before they are durable", n)
	}
	if fault.Hits() == 0 {
		t.Error("nothing was refused: the test is void")
	}
	fault.Remove()
	batches, events := gather(t, s, 2)
	if got := texts(events); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("events %v", got)
	}
	r := w.deadLetters(t, 1)[0]
	if string(r.Key) != "k\x00" || string(r.Value) != "bad \xff" || header(r, "trace") != "\x00\xff" {
		t.Errorf("the record was changed: key %q value %q", r.Key, r.Value)
	}
	wantHeaders(t, r, map[string]string{
		HeaderTopic: topic, HeaderPartition: "0", HeaderOffset: "1", HeaderStage: "decode",
		HeaderReason: "broken_json", HeaderMessage: "not JSON at byte 0", HeaderTimestamp: "1700000000123", HeaderOmitted: "(none)",
	})
	for _, b := range batches {
		b.Ack()
	}
	w.waitCommitted(t, 0, 3)
	if n := samples(t, reg, "chunktide_dead_letters_total")["broken_json"]; n != 1 {
		t.Errorf("%v dead letters are counted, want 1", n)
	}
}

// A batch of nothing but malformed records has offsets to commit.
func TestFloodOfMalformedRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	values := slices.Repeat([]string{"bad"}, 1000)
	w.produce(t, 0, values...)
	cfg := w.config()
	cfg.Batch.Events = 100
	s := w.open(t, cfg)
	for range 10 {
		b := next(t, s)
		if len(b.Events) != 0 {
			t.Fatalf("%d events", len(b.Events))
		}
		b.Ack()
	}
	w.waitCommitted(t, 0, 1000)
	if got := len(w.deadLetters(t, 1000)); got != 1000 {
		t.Errorf("%d dead letters", got)
	}
}

// When the dead letters cannot be written, nothing of the batch is committed
// and the worker ends with an error.
func TestNoDeadLetterNoCommit(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*testing.T, *Source) error{
		"malformed": func(t *testing.T, s *Source) error {
			_, err := s.Next(ctx(t))
			if _, again := s.Next(ctx(t)); again == nil {
				t.Error("the second Next has no error")
			}
			return err
		},
		"rejected": func(t *testing.T, s *Source) error {
			b := next(t, s)
			return b.Reject([]chunk.Rejection{{Event: 0, Stage: "index", Err: chunk.Permanentf(chunk.ReasonIndexRefused, "refused")}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			value := map[string]string{"malformed": "bad", "rejected": "good"}[name]
			w.produce(t, 0, value)
			w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters, Err: kerr.TopicAuthorizationFailed, Count: -1})
			s := w.open(t, w.config())
			err := write(t, s)
			if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "grant WRITE on topic "+letters) {
				t.Errorf("got %v", err)
			}
			shut(t, s)
			if at := w.committed(t, 0); at > 0 {
				t.Errorf("committed %d", at)
			}
		})
	}
}

// Dead letters that hang keep neither Next nor Reject nor Close for ever.
func TestCloseWhileDeadLettersHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "good")
	w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters, Err: kerr.NotEnoughReplicas, Count: -1})
	s := w.open(t, w.config())
	b := next(t, s)
	rejected := make(chan error)
	go func() {
		rejected <- b.Reject([]chunk.Rejection{refuse(0, "index", chunk.Permanentf(chunk.ReasonIndexRefused, "no"))})
	}()
	w.produce(t, 0, "bad")
	short, cancel := timeout(t, 300*time.Millisecond)
	defer cancel()
	if _, err := s.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next: %v", err)
	}
	start := time.Now()
	shut(t, s)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %s", took)
	}
	if err := <-rejected; err == nil {
		t.Error("Reject has no error, though nothing is durable")
	}
	if at := w.committed(t, 0); at > 0 {
		t.Errorf("committed %d", at)
	}
}

func TestReject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "good", "two", "fine")
	reg := prometheus.NewRegistry()
	cfg := w.config()
	cfg.Batch.Events, cfg.Batch.Linger, cfg.Batch.IdleLinger = 4, 10*time.Second, 10*time.Second
	s := open(t, cfg, reg)
	b := next(t, s)
	if len(b.Events) != 4 {
		t.Fatalf("%d events", len(b.Events))
	}
	no := chunk.Permanentf(chunk.ReasonTooManyTokens, "%s", strings.Repeat("long ", 2000))
	vector := chunk.Permanentf(chunk.ReasonBadVector, "NaN")
	if err := b.Reject([]chunk.Rejection{refuse(1, "encode", no), refuse(2, "encode", no), refuse(3, "index", vector)}); err != nil {
		t.Fatal(err)
	}
	got := w.deadLetters(t, 2) // one for each record
	slices.SortFunc(got, func(a, b *kgo.Record) int { return strings.Compare(header(a, HeaderOffset), header(b, HeaderOffset)) })
	if len(got) != 2 || string(got[0].Value) != "two" || string(got[1].Value) != "fine" {
		t.Fatalf("%d dead letters", len(got))
	}
	wantHeaders(t, got[0], map[string]string{HeaderStage: "encode", HeaderReason: "too_many_tokens", HeaderOffset: "1"})
	wantHeaders(t, got[1], map[string]string{HeaderStage: "index", HeaderReason: "bad_vector", HeaderOffset: "2", HeaderMessage: "NaN"})
	if n := len(header(got[0], HeaderMessage)); n != maxMessage {
		t.Errorf("the message has %d bytes", n)
	}
	counted := samples(t, reg, "chunktide_dead_letters_total")
	if counted["too_many_tokens"] != 1 || counted["bad_vector"] != 1 {
		t.Errorf("counted %v", counted)
	}
	for name, bad := range map[string]chunk.Rejection{
		"no such event": refuse(4, "encode", no), "negative": refuse(-1, "encode", no), "not permanent": refuse(0, "encode", errors.New("passing")),
	} {
		if b.Reject([]chunk.Rejection{bad}) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := b.Reject(nil); err != nil {
		t.Error(err)
	}
	b.Ack()
	if b.Reject([]chunk.Rejection{refuse(0, "encode", no)}) == nil {
		t.Error("rejected after the acknowledgement")
	}
}

// A record that the dead-letter topic cannot hold is pointed to instead: its
// value, and if need be the rest, stays where it was.
func TestRecordsTooLargeForTheDeadLetters(t *testing.T) {
	t.Parallel()
	for name, max := range map[string]int32{"refused by the broker": 1 << 20, "known beforehand": 2500} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			if err := w.CreateTopic("small", 1, map[string]string{"max.message.bytes": "3000"}); err != nil {
				t.Fatal(err)
			}
			noise := func(n int) []byte { // incompressible, or the limit is not met
				b := make([]byte, n)
				for i, x := 0, uint32(1); i < n; i++ {
					x = x*1664525 + 1013904223
					b[i] = byte(x >> 24)
				}
				return b
			}
			bad := func(key, value int) *kgo.Record {
				return &kgo.Record{Topic: topic, Key: noise(key), Value: append([]byte("bad"), noise(value)...)}
			}
			// The first two fit by themselves, but not together.
			rs := []*kgo.Record{bad(3, 1500), bad(3, 1500), bad(3, 9000), bad(9000, 3)}
			if err := w.cl.ProduceSync(ctx(t), rs...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			cfg := w.config()
			cfg.DeadLetterTopic, cfg.DeadLetterMaxBytes = "small", max
			cfg.Batch.Events, cfg.Batch.Linger, cfg.Batch.IdleLinger = 4, 10*time.Second, 10*time.Second
			reg := prometheus.NewRegistry()
			next(t, open(t, cfg, reg)).Ack()
			w.waitCommitted(t, 0, 4)

			cl := w.client(t, kgo.ConsumeTopics("small"), kgo.FetchMaxWait(50*time.Millisecond))
			byOffset := map[string]*kgo.Record{}
			for len(byOffset) < 4 {
				f := cl.PollFetches(ctx(t))
				if err := f.Err(); err != nil {
					t.Fatalf("%d dead letters: %v", len(byOffset), err)
				}
				f.EachRecord(func(r *kgo.Record) { byOffset[header(r, HeaderOffset)] = r })
			}
			for _, whole := range []string{"0", "1"} {
				if len(byOffset[whole].Value) != 1503 || header(byOffset[whole], HeaderOmitted) != "(none)" {
					t.Errorf("offset %s was cut", whole)
				}
			}
			if r := byOffset["2"]; r.Value != nil || len(r.Key) != 3 || header(r, HeaderOmitted) != "value 9003 bytes" {
				t.Errorf("offset 2: key %d, value %d bytes, %q", len(r.Key), len(r.Value), header(r, HeaderOmitted))
			}
			if r := byOffset["3"]; r.Value != nil || r.Key != nil || header(r, HeaderOmitted) != "key, value and headers 9006 bytes" {
				t.Errorf("offset 3: key %d, value %d bytes, %q", len(r.Key), len(r.Value), header(r, HeaderOmitted))
			}
			if n := samples(t, reg, "chunktide_dead_letters_cut_total")[""]; n != 2 {
				t.Errorf("%v are counted as cut, want 2", n)
			}
		})
	}
}
