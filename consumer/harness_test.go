package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

const (
	topic   = "docs"
	letters = "docs.dead-letters"
	group   = "workers"
)

// world is a fake Kafka cluster on a network in memory.
type world struct {
	*kfake.Cluster
	net kfake.VirtualNetwork
	adm *kadm.Client
	cl  *kgo.Client
}

// newWorld has topic with partitions, the dead letters with one, and one
// broker.
func newWorld(t testing.TB, partitions int32, opts ...kfake.Opt) *world {
	t.Helper()
	w := &world{}
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(9092),
		kfake.ListenFn(w.net.Listen),
		kfake.SeedTopics(partitions, topic),
		kfake.SeedTopics(1, letters),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{ // for next_gen, where the broker decides
			"group.consumer.heartbeat.interval.ms": "50",
			"group.consumer.session.timeout.ms":    "1000",
		}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	w.Cluster = c
	t.Cleanup(c.Close)
	w.cl = w.client(t)
	w.adm = kadm.NewClient(w.cl)
	return w
}

func (w *world) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.ListenAddrs()...), kgo.Dialer(w.net.DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.DisableClientMetrics(), kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.CloseAllowingRebalance)
	return cl
}

// config is quick about everything that costs time.
func (w *world) config() Config {
	cfg := DefaultConfig()
	cfg.Brokers = w.ListenAddrs()
	cfg.Topics = []string{topic}
	cfg.Group = group
	cfg.SessionTimeout = 3 * time.Second
	cfg.Heartbeat = 50 * time.Millisecond
	cfg.RebalanceTimeout = 10 * time.Second
	cfg.FetchMaxWait = 50 * time.Millisecond
	cfg.Batch.Linger = 10 * time.Millisecond
	cfg.options = []kgo.Opt{kgo.Dialer(w.net.DialContext), kgo.MetadataMinAge(10 * time.Millisecond)}
	return cfg
}

func (w *world) produce(t testing.TB, partition int32, values ...string) {
	t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: topic, Partition: partition, Key: []byte("key"), Value: []byte(v)}
	}
	if err := w.cl.ProduceSync(ctx(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// committed is the group's offset, -1 if there is none.
func (w *world) committed(t testing.TB, partition int32) int64 {
	t.Helper()
	offsets, err := w.adm.FetchOffsetsForTopics(ctx(t), group, topic)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := offsets.Lookup(topic, partition)
	return o.At
}

func (w *world) waitCommitted(t testing.TB, partition int32, want int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("partition %d is committed at %d", partition, want), func() bool { return w.committed(t, partition) == want })
}

// deadLetters reads want records from the dead-letter topic.
func (w *world) deadLetters(t testing.TB, want int) []*kgo.Record {
	t.Helper()
	cl := w.client(t, kgo.ConsumeTopics(letters), kgo.FetchMaxWait(50*time.Millisecond))
	var got []*kgo.Record
	for len(got) < want {
		f := cl.PollFetches(ctx(t))
		if err := f.Err(); err != nil {
			t.Fatalf("%d of %d dead letters: %v", len(got), want, err)
		}
		got = append(got, f.Records()...)
	}
	return got
}

// open makes a source and closes it with the test.
func (w *world) open(t testing.TB, cfg Config) *Source {
	t.Helper()
	return open(t, cfg, nil)
}

func open(t testing.TB, cfg Config, reg prometheus.Registerer) *Source {
	t.Helper()
	s, err := New(ctx(t), cfg, decode, words, quiet(), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t testing.TB, s *Source) {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Close(c); err != nil {
		t.Error(err)
	}
}

// decode stands in for the real one: the value is the text, "bad…" is
// malformed, "none…" holds no events, "two…" holds two, "bug…" is a bug.
func decode(r chunk.Record) ([]chunk.Event, error) {
	text := string(r.Value)
	event := chunk.Event{Op: chunk.Upsert, Text: text, Version: 1, Origin: r.Origin, DocumentID: string(r.Key)}
	switch {
	case r.Value == nil:
		event.Op = chunk.Delete
		return []chunk.Event{event}, nil
	case strings.HasPrefix(text, "bad"):
		return nil, chunk.Permanentf(chunk.ReasonBrokenJSON, "not JSON at byte 0")
	case strings.HasPrefix(text, "bug"):
		return nil, errors.New("a bug")
	case strings.HasPrefix(text, "none"):
		return nil, nil
	case strings.HasPrefix(text, "two"):
		return []chunk.Event{event, event}, nil
	default:
		return []chunk.Event{event}, nil
	}
}

func words(text string) int { return len(strings.Fields(text)) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// ctx bounds one step of a test.
func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return c
}

// next returns the next batch.
func next(t testing.TB, s *Source) chunk.Batch {
	t.Helper()
	b, err := s.Next(ctx(t))
	if err != nil {
		t.Fatalf("next batch: %v", err)
	}
	return b
}

// gather takes batches, without acknowledging them, until they hold n events.
func gather(t testing.TB, s *Source, n int) (batches []chunk.Batch, events []chunk.Event) {
	t.Helper()
	for len(events) < n {
		b := next(t, s)
		batches = append(batches, b)
		events = append(events, b.Events...)
	}
	return batches, events
}

// nextErr takes batches until there is an error.
func nextErr(t testing.TB, s *Source) error {
	t.Helper()
	c := ctx(t)
	for {
		b, err := s.Next(c)
		if err != nil {
			if c.Err() != nil {
				t.Fatal("no error came")
			}
			return err
		}
		b.Ack()
	}
}

// eventually polls a condition on the broker that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func texts(events []chunk.Event) []string {
	out := make([]string, len(events))
	for i := range events {
		out[i] = events[i].Text
	}
	return out
}

// samples are the values of a metric by its labels' values.
func samples(t testing.TB, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, "/")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}
