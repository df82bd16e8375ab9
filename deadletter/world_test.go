package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/consumer"
	"chunktide/devstack/realservers"
)

// at is when the originals were written.
var at = time.UnixMilli(1_700_000_000_123)

// world is a topic of two partitions and its dead letters, of two as well.
type world struct {
	t   *testing.T
	cfg consumer.Config
	cl  *kgo.Client
	adm *kadm.Client
}

// newWorld is on a Kafka that is embedded.
func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return newWorldOn(t, c.ListenAddrs()[0])
}

func newWorldOn(t *testing.T, broker string) *world {
	t.Helper()
	w := &world{t: t, cfg: consumer.DefaultConfig()}
	name := fmt.Sprintf("docs-%d-%d", os.Getpid(), time.Now().UnixNano())
	w.cfg.Brokers, w.cfg.Topics, w.cfg.Group = []string{broker}, []string{name}, "workers"
	w.cfg.FetchMaxWait = 50 * time.Millisecond
	var err error
	w.cl, err = kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cl.Close)
	w.adm = kadm.NewClient(w.cl)
	if _, err := w.adm.CreateTopics(t.Context(), 2, 1, nil, name, w.cfg.DeadLetters()); err != nil {
		t.Fatal(err)
	}
	return w
}

// What is promised holds on the embedded Kafka and on a real one.
func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	for name, test := range promises {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t))
		})
	}
}

func TestAtMostOnceOnARealKafka(t *testing.T) {
	broker := realservers.RunKafka(t, realservers.KafkaOptions{}).Addr
	for name, test := range promises {
		t.Run(name, func(t *testing.T) { test(t, newWorldOn(t, broker)) })
	}
}

var promises = map[string]func(*testing.T, *world){
	"each once": eachLetterIsSentOnce, "killed": aKilledRedriveSendsNothingTwice, "two at a time": twoRedrivesAtATimeSendNothingTwice,
}

// upsert is an event; a version of 0 is left out.
func upsert(name string, version int) string {
	v := ""
	if version > 0 {
		v = fmt.Sprintf(`,"version":%d`, version)
	}
	return fmt.Sprintf(`{"op":"upsert","document_id":"d","chunk_id":%q,"text":"text of %s"%s}`, name, name, v)
}

// letter is one to be written.
type letter struct {
	reason    chunk.Reason
	value     string
	nothing   bool // a tombstone
	topic     string
	partition int32
	offset    int64
	time      time.Time // of the original
	in        int32     // the partition of the dead letters
	omitted   string
	first     string
	headers   []kgo.RecordHeader // the original's own
	written   time.Time
}

// write puts a letter into the topic as a worker does.
func (w *world) write(l letter) Place {
	w.t.Helper()
	if l.topic == "" {
		l.topic = w.cfg.Topics[0]
	}
	if l.time.IsZero() {
		l.time = at
	}
	if l.reason == "" {
		l.reason = chunk.ReasonTooLarge
	}
	r := &kgo.Record{
		Topic: w.cfg.DeadLetters(), Partition: l.in, Key: []byte("key of " + strconv.FormatInt(l.offset, 10)), Value: []byte(l.value), Timestamp: l.written,
		Headers: append([]kgo.RecordHeader{}, l.headers...),
	}
	if l.nothing {
		r.Value = nil
	}
	header := func(key, value string) {
		if value != "" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	header(consumer.HeaderTopic, l.topic)
	header(consumer.HeaderPartition, strconv.Itoa(int(l.partition)))
	header(consumer.HeaderOffset, strconv.FormatInt(l.offset, 10))
	header(consumer.HeaderStage, "decode")
	header(consumer.HeaderReason, string(l.reason))
	header(consumer.HeaderMessage, "it was refused")
	header(consumer.HeaderTimestamp, strconv.FormatInt(l.time.UnixMilli(), 10))
	header(consumer.HeaderFirstOffset, l.first)
	header(consumer.HeaderOmitted, l.omitted)
	if err := w.cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	return Place{l.in, r.Offset}
}

func (w *world) options(send bool) Options {
	w.t.Helper()
	cfg := chunk.DefaultDecoderConfig()
	cfg.DefaultSource = "s"
	decoder, err := chunk.NewDecoder(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return Options{Kafka: w.cfg, Decode: decoder.Decode, Send: send, Logger: slog.New(slog.DiscardHandler)}
}

// run returns the verdicts by the letters' places.
func (w *world) run(o Options) (map[Place]Verdict, error) {
	out := map[Place]Verdict{}
	err := Run(w.t.Context(), o, func(v Verdict) error {
		if _, double := out[v.Place]; double {
			w.t.Errorf("letter %s is visited twice", v.Place)
		}
		out[v.Place] = v
		return nil
	})
	return out, err
}

func (w *world) must(o Options) map[Place]Verdict {
	w.t.Helper()
	out, err := w.run(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// records are what is committed in a topic, all partitions, as a worker sees
// it.
func (w *world) records(topic string) (all []chunk.Record) {
	w.t.Helper()
	// A broker answers a commit before its partitions know of it.
	for r := (&run{Options: w.options(false), judge: &judge{adm: w.adm}}); ; {
		open, err := r.open(w.t.Context(), topic)
		if err != nil {
			w.t.Fatal(err)
		}
		if !open {
			break
		}
	}
	cfg := w.cfg
	cfg.Topics = []string{topic}
	ranges, err := consumer.Ranges(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	none := func(chunk.Record) ([]chunk.Event, error) { return nil, nil }
	err = consumer.Scan(w.t.Context(), cfg, ranges, none, func(v consumer.Visited) error {
		all = append(all, v.Record)
		return nil
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// sent counts what reached the topic, by key.
func (w *world) sent() map[string]int {
	w.t.Helper()
	out := map[string]int{}
	for _, r := range w.records(w.cfg.Topics[0]) {
		out[string(r.Key)]++
	}
	return out
}

// ends are where the topics' partitions end, committed or not.
func (w *world) ends() string {
	w.t.Helper()
	ends, err := w.adm.ListEndOffsets(w.t.Context(), w.cfg.Topics[0], w.cfg.DeadLetters())
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := json.Marshal(ends)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

var errCrash = errors.New("crash")

// crash runs as if the process was killed before the transaction's end: nothing
// is aborted.
func (w *world) crash(o Options) {
	w.t.Helper()
	defer func() {
		if p := recover(); p != any(errCrash) {
			w.t.Fatalf("it did not come to the crash: %v", p)
		}
	}()
	o.pause = func() error { panic(errCrash) }
	_ = Run(context.WithoutCancel(w.t.Context()), o, func(Verdict) error { return nil })
}
