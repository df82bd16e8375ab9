//go:build synctests

package inprocess

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"

	"chunktide/cache"
	"chunktide/consumer"
	"chunktide/devstack"
	"chunktide/pipeline"
	"chunktide/prove/history"
	"chunktide/sink"
)

const (
	live       = "docs"
	backfill   = "backfill"
	letters    = live + ".dead-letters"
	brokers    = 2
	partitions = 4
)

// world is the servers and workers of one run, and what is known of them.
type world struct {
	t       testing.TB
	seed    uint64
	stack   *devstack.Stack
	shape   history.Shape
	history *history.History
	logs    map[string]*log
	index   *index
	audit   *audit
	encoder *words
	tally   *tally
	groups  []group

	kafka consumer.Config
	cache cache.Config
	sink  sink.Config

	// plan says what befalls a worker in a life; nil is nothing.
	plan func(worker string, life int) fate
	// wrap lets a control change what a worker is made of.
	wrap func(*pipeline.Parts)

	fleet sync.WaitGroup
	began time.Time
	retry context.Context // ends when dead workers are no longer replaced
	stop  context.CancelFunc
	armed []armed
	// patience is how long, by the bubble's clock, all may take to be committed
	// after the last fault.
	patience time.Duration

	mu sync.Mutex
	// alive are the workers in the order in which they began.
	alive []*worker
	// redisBack is when Redis answers in time again.
	redisBack time.Time
	// surprises are the ends of workers that nobody killed.
	surprises []error
}

// group is one consumer group and the topic that it reads.
type group struct{ name, topic string }

// log is the records of a topic as they are or will be published.
type log struct {
	records []history.Record
	// offsets are the records of each partition, by their index.
	offsets map[int32][]int
	sent    int
}

func newLog(records []history.Record) *log {
	l := &log{records: records, offsets: map[int32][]int{}}
	for i := range records {
		p := records[i].Partition
		l.offsets[p] = append(l.offsets[p], i)
	}
	return l
}

// number is a random number that depends on the seed and on what it is for,
// not on what was drawn before it.
func (w *world) number(what string, n int) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, what, n)
	return rand.New(rand.NewPCG(w.seed, h.Sum64())).Uint64()
}

// newWorld starts the servers. It must be called in a bubble.
func newWorld(t testing.TB, seed uint64, shape history.Shape) *world {
	t.Helper()
	w := &world{t: t, seed: seed, shape: shape, history: history.New(seed, shape), tally: newTally(), patience: 30 * time.Minute, began: time.Now()}
	w.logs = map[string]*log{live: newLog(w.history.Records)}
	w.encoder = newWords()
	w.index = &index{w: w}
	w.index.applied.L = &w.index.mu
	var err error
	w.stack, err = devstack.Start(t.Context(), devstack.Options{
		Topics:  map[string]int32{live: partitions, letters: 1, backfill: partitions, backfill + ".dead-letters": 1},
		Brokers: brokers, Memory: true,
		QdrantInterceptor: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return w.index.intercept(ctx, req, info, handler)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.audit = newAudit(w)
	w.kafka, w.cache, w.sink = consumer.DefaultConfig(), cache.DefaultConfig(), sink.DefaultConfig()
	w.kafka.Brokers, w.kafka.Group, w.kafka.Topics = w.stack.KafkaBrokers, "workers", []string{live}
	w.kafka.Batch.Events = 96
	w.cache.URL = secret(w.stack.RedisURL)
	w.sink.Address = w.stack.QdrantAddr
	w.resume()
	return w
}

// publish sends the next n records of a topic, or all that are left.
func (w *world) publish(topic string, n int) {
	w.t.Helper()
	l := w.logs[topic]
	n = min(n, len(l.records)-l.sent)
	records := make([]*kgo.Record, n)
	for i := range records {
		r := &l.records[l.sent+i]
		records[i] = &kgo.Record{
			Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time,
			Headers: []kgo.RecordHeader{{Key: headerIndex, Value: []byte(strconv.Itoa(l.sent + i))}},
		}
	}
	l.sent += n
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	if err := cl.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatalf("publish: %v", err)
	}
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.stack.KafkaBrokers...), kgo.Dialer(w.stack.Dial), kgo.DisableClientMetrics())...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

// start adds a worker of a group, which is replaced whenever it dies.
func (w *world) start(name string, g group) {
	if !slices.Contains(w.groups, g) {
		w.groups = append(w.groups, g)
	}
	w.fleet.Go(func() {
		for life := 0; w.retry.Err() == nil; life++ {
			err := w.live(name, life, g)
			if w.retry.Err() != nil {
				return
			}
			if err != nil {
				w.mu.Lock()
				w.surprises = append(w.surprises, fmt.Errorf("worker %s in life %d: %w", name, life, err))
				w.mu.Unlock()
			}
			// A supervisor waits a little before it starts the next.
			pause(w.retry, time.Duration(w.number("pause "+name, life)%10_000)*time.Millisecond)
		}
	})
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// halt stops all workers in good order; resume lets others be started.
func (w *world) halt() {
	w.stop()
	w.fleet.Wait()
}

func (w *world) resume() { w.retry, w.stop = context.WithCancel(w.t.Context()) }

// settled waits until every group has committed the end of its log; false when
// that never happens.
func (w *world) settled() bool {
	for deadline := time.Now().Add(w.patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		if w.behind() == 0 {
			return true
		}
	}
	return false
}

// behind is how many records are not committed, over all groups.
func (w *world) behind() int {
	n := 0
	for _, g := range w.groups {
		l := w.logs[g.topic]
		info := w.stack.Kafka.GroupInfo(g.name)
		for p := range int32(partitions) {
			end := 0
			for _, i := range l.offsets[p] {
				if i < l.sent {
					end++
				}
			}
			if n += end; info != nil {
				n -= int(info.Commits[g.topic][p].Offset)
			}
		}
	}
	return n
}

// finish waits for the end, stops the workers and the servers, and judges.
func (w *world) finish() report {
	r := report{Stuck: !w.settled()}
	r.Behind = w.behind()
	w.index.wait() // for writes that are still under way, though nobody waits for them
	w.halt()
	// A bubble's clock stands still once its test returns, but what is left of
	// workers that were killed needs some time to notice.
	time.Sleep(5 * time.Minute)
	for _, a := range w.armed {
		w.tally.add(a.name, a.Hits())
	}
	w.judge(&r)
	if err := w.stack.Close(); err != nil {
		w.t.Error(err)
	}
	r.Surprises = w.surprises
	return r
}

// inBubble runs f in a bubble of its own and returns what it returns.
func inBubble[T any](t *testing.T, f func(t *testing.T) T) (out T) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { out = f(t) })
	return out
}

func quiet() *slog.Logger {
	if os.Getenv("CHUNKTIDE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}
