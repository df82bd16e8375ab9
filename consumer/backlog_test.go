package consumer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stuck is a worker that has read one record of three, and does not go on.
func stuck(t *testing.T, every time.Duration) (*world, *Source, *prometheus.Registry) {
	t.Helper()
	w := newWorld(t, 1)
	w.produce(t, 0, "one two", "three four", "five six")
	cfg := w.config()
	cfg.BufferBytes, cfg.Batch.Bytes, cfg.Batch.Events = 1, 1, 1
	cfg.endsEvery = every
	reg := prometheus.NewRegistry()
	s := open(t, cfg, reg)
	next(t, s)
	return w, s, reg
}

// The lag is what workers are scaled by: it grows while the worker is stuck.
func TestLagGrowsWhileTheWorkerIsStuck(t *testing.T) {
	t.Parallel()
	w, s, reg := stuck(t, 5*time.Millisecond)
	for n := 4; n < 8; n++ {
		w.produce(t, 0, "seven eight")
		eventually(t, fmt.Sprintf("the lag is %d", n), func() bool { return s.Lag() == int64(n) })
		if got, known := samples(t, reg, "chunktide_durable_offset")["0/docs"]; got != 0 || !known {
			t.Errorf("the durable offset is %v, want 0 (known: %v)", got, known)
		}
	}
	if got := samples(t, reg, "chunktide_consumer_lag")["0/docs"]; got != 7 {
		t.Errorf("the metric says %v, want 7", got)
	}
	if got := samples(t, reg, "chunktide_backlog_events")[""]; got != 7 {
		t.Errorf("the sum says %v, want 7", got)
	}
}

// Control: without the looks at the log's end the lag stands still.
func TestControlLagWithoutTheLooksStandsStill(t *testing.T) {
	t.Parallel()
	w, s, _ := stuck(t, -1)
	w.produce(t, 0, "seven eight", "nine ten")
	if lag := s.Lag(); lag != 3 {
		t.Errorf("lag %d, want 3: something else refreshes it, and the test above shows nothing", lag)
	}
	if _, err := s.lookAtEnds(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if lag := s.Lag(); lag != 5 {
		t.Errorf("lag %d after a look, want 5", lag)
	}
}

// A partition of which nothing was read or committed yet is a backlog too,
// from where the group is to start.
func TestLagOfWhatWasNeverRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		start string
		want  int64
	}{{"earliest", 3}, {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), 3}, {"latest", 0}} {
		w := newWorld(t, 1)
		w.produce(t, 0, "a", "b", "c")
		w.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.KeepControl()
			return nil, errors.New("the connection is cut"), true
		})
		cfg := w.config()
		cfg.Start, cfg.endsEvery = c.start, 5*time.Millisecond
		reg := prometheus.NewRegistry()
		s := open(t, cfg, reg)
		eventually(t, "the end is known", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			p := s.parts[topicPartition{topic, 0}]
			return p != nil && p.end == 3 && (c.want == 0 || p.start >= 0)
		})
		if lag := s.Lag(); lag != c.want {
			t.Errorf("%s: lag %d, want %d", c.start, lag, c.want)
		}
		// No zero while it is not known where to begin.
		if got, known := samples(t, reg, "chunktide_durable_offset")["0/docs"]; got != 0 || known != (c.start != "latest") {
			t.Errorf("%s: durable offset %v, known: %v", c.start, got, known)
		}
		if got, want := samples(t, reg, "chunktide_backlog_tokens")[""], float64(64*c.want); got != want {
			t.Errorf("%s: %v tokens, want %v: what a batch is laid out for", c.start, got, want)
		}
	}
}

// A look that fails leaves what was known, and is counted.
func TestFailedLooksKeepTheLag(t *testing.T) {
	t.Parallel()
	w, s, reg := stuck(t, 5*time.Millisecond)
	w.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.KeepControl()
		answer := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, asked := range r.(*kmsg.ListOffsetsRequest).Topics {
			of := kmsg.NewListOffsetsResponseTopic()
			of.Topic = asked.Topic
			for _, p := range asked.Partitions {
				refused := kmsg.NewListOffsetsResponseTopicPartition()
				refused.Partition, refused.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				of.Partitions = append(of.Partitions, refused)
			}
			answer.Topics = append(answer.Topics, of)
		}
		return answer, nil, true
	})
	failures := func() float64 { return samples(t, reg, "chunktide_backlog_look_failures_total")[""] }
	eventually(t, "looks fail", func() bool { return failures() > 2 })
	w.produce(t, 0, "seven eight")
	before := failures()
	eventually(t, "more looks fail", func() bool { return failures() > before+2 })
	if lag := s.Lag(); lag != 3 {
		t.Errorf("lag %d, want the 3 that were seen", lag)
	}
}

func TestBacklogAddsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.produce(t, 0, "one two", "three four five", "none")
	w.produce(t, 1, "six seven eight nine", "ten")
	cfg := w.config()
	cfg.endsEvery = 5 * time.Millisecond
	reg := prometheus.NewRegistry()
	s := open(t, cfg, reg)
	batches, _ := gather(t, s, 4)
	eventually(t, "all is read", func() bool { return s.Backlog().Events == 5 && s.Backlog().Tokens == 10 })
	b := s.Backlog()
	want := []PartitionLag{{topic, 0, 3, 0}, {topic, 1, 2, 0}}
	if !slices.Equal(b.Partitions, want) || b.Drain < 5./assumedRate {
		t.Errorf("backlog %+v, want %v and a drain above %v", b, want, 5./assumedRate)
	}
	for _, batch := range batches {
		batch.Ack()
	}
	deadline := ctx(t)
	go func() { // the last record may come in a batch of its own
		for {
			batch, err := s.Next(deadline)
			if err != nil {
				return
			}
			batch.Ack()
		}
	}()
	eventually(t, "the backlog is done", func() bool { return s.Backlog().Events == 0 })
	if b := s.Backlog(); b.Tokens != 0 || b.Drain != 0 || !(b.Rate > 0) || math.IsInf(b.Rate, 0) {
		t.Errorf("backlog %+v when level, want nothing but a rate", b)
	}
	if got := samples(t, reg, "chunktide_consumer_lag"); len(got) != 2 || got["0/docs"] != 0 || got["1/docs"] != 0 {
		t.Errorf("lags %v, want two at 0", got)
	}
	if got := samples(t, reg, "chunktide_durable_offset"); len(got) != 2 || got["0/docs"] != 3 || got["1/docs"] != 2 {
		t.Errorf("durable offsets %v, want 3 and 2", got)
	}
}

// The series of a partition go with it; those of the worker stay.
func TestBacklogSeriesGoWithTheirPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	cfg := w.config()
	reg := prometheus.NewRegistry()
	open(t, cfg, reg)
	lags := func() int { return len(samples(t, reg, "chunktide_consumer_lag")) }
	eventually(t, "both partitions are shown", func() bool { return lags() == 2 })
	second := w.open(t, cfg)
	eventually(t, "one of them has gone", func() bool { return lags() == 1 && len(second.Assigned()[topic]) == 1 })
	for _, name := range []string{
		"chunktide_backlog_events", "chunktide_backlog_tokens", "chunktide_backlog_drain_seconds", "chunktide_drain_rate_events_per_second",
	} {
		if got := samples(t, reg, name); len(got) != 1 {
			t.Errorf("%s: %v, want one series", name, got)
		}
	}
}
