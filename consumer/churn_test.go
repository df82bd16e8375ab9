package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/devstack/cable"
)

// ledger is the index as far as this test cares: which offsets were applied.
// It sees every offset commit when it reaches the broker, accepted or not.
type ledger struct {
	t          *testing.T
	mu         sync.Mutex
	applied    []map[int64]int // by partition: how often
	violations []string
	commits    int
}

func (l *ledger) apply(partition int32, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied[partition][offset]++
}

// audit checks the promise itself: below a committed offset everything was
// applied.
func (l *ledger) audit(req *kmsg.OffsetCommitRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			l.commits++
			for o := range p.Offset {
				if l.applied[p.Partition][o] == 0 {
					l.violations = append(l.violations, fmt.Sprintf("partition %d committed at %d, but %d was not applied", p.Partition, p.Offset, o))
					break
				}
			}
		}
	}
}

// lostNothing is what every run must show: each of so many records was applied,
// and no commit came before.
func (l *ledger) lostNothing(t *testing.T, records int) {
	t.Helper()
	if n, _ := l.counts(); n != records {
		t.Errorf("%d records were lost", records-n)
	}
	if len(l.violations) > 0 {
		t.Errorf("%d commits came too early, the first: %s", len(l.violations), l.violations[0])
	}
}

// lostSome is what every control must show, of churnControl records.
func (l *ledger) lostSome(t *testing.T) {
	t.Helper()
	if n, _ := l.counts(); n == churnControl || len(l.violations) == 0 {
		t.Errorf("%d of %d applied and %d violations: the test sees no losses", n, churnControl, len(l.violations))
	}
}

func (l *ledger) counts() (distinct, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.applied {
		distinct += len(p)
		for _, n := range p {
			total += n
		}
	}
	return distinct, total
}

const (
	churnPartitions = 6
	churnRecords    = 20_400
	churnControl    = 7_200 // enough to see losses
	churnMembers    = 3
)

// seed is fixed unless CHUNKTIDE_TEST_SEED says otherwise.
func seed(t *testing.T) uint64 {
	v := os.Getenv("CHUNKTIDE_TEST_SEED")
	if v == "" {
		return 1
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("CHUNKTIDE_TEST_SEED: %v", err)
	}
	return n
}

// member is one worker process after another, until all is committed.
type member struct {
	w      *world
	ledger *ledger
	cfg    Config
	rng    *rand.Rand
	// ackFirst is a fault: to acknowledge a batch and then apply it.
	ackFirst bool
	lives    map[string]int
}

// live runs one worker until it leaves, fails or is killed.
func (m *member) live(ctx context.Context) error {
	wire := cable.New(m.w.net.DialContext)
	cfg := m.cfg
	cfg.options = append(cfg.options[:len(cfg.options):len(cfg.options)], kgo.Dialer(wire.Dial))
	reg := prometheus.NewRegistry()
	s, err := New(ctx, cfg, decode, words, quiet(), reg)
	if err != nil {
		return err
	}
	defer func() {
		m.lives["lost partitions"] += int(samples(m.ledger.t, reg, "chunktide_rebalances_total")["lost"])
	}()
	fate := []string{"leaves", "fails", "is killed"}[m.rng.IntN(3)]
	inFlight, err := m.work(ctx, s, wire, 5+m.rng.IntN(40))
	switch {
	case ctx.Err() != nil:
		fate = "leaves"
	case err != nil:
		return err
	}
	m.lives[fate]++
	if fate == "is killed" {
		wire.Cut()
		gone, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = s.Close(gone) // it cannot say good-bye
		return nil
	}
	if fate == "leaves" { // and drains before
		m.settleAll(inFlight)
	}
	end, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if s.Close(end) != nil { // it was given up by the group, and says so
		m.lives["leaves too late"]++
	}
	return nil
}

// work handles batches with up to two more in flight behind the one that is
// applied, as the pipeline does, and returns those that are left.
func (m *member) work(ctx context.Context, s *Source, wire *cable.Cable, batches int) (inFlight []batchOf, err error) {
	for range batches {
		if waitsForAcks(s) {
			inFlight = m.settleAll(inFlight)
		}
		idle, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		b, err := s.Next(idle)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			if len(inFlight) > 0 {
				m.lives["waits with batches in hand"]++
			}
			inFlight = m.settleAll(inFlight)
			continue
		case err != nil:
			return inFlight, err
		}
		if m.rng.IntN(100) == 0 { // long enough to be given up by the group
			m.lives["freezes"]++
			wire.Freeze(3 * m.cfg.SessionTimeout / 2)
		}
		one := batchOf{ack: b.Ack}
		for _, e := range b.Events {
			one.offsets = append(one.offsets, topicOffset{e.Origin.Partition, e.Origin.Offset})
		}
		if m.ackFirst {
			b.Ack()
		}
		inFlight = append(inFlight, one)
		if len(inFlight) < 3 {
			continue
		}
		if m.rng.IntN(30) == 0 { // the sink fails half way, and the worker with it
			for _, o := range inFlight[0].offsets[:m.rng.IntN(len(inFlight[0].offsets)+1)] {
				m.ledger.apply(o.partition, o.offset)
			}
			return nil, nil
		}
		m.settle(inFlight[0])
		inFlight = inFlight[1:]
	}
	return inFlight, nil
}

type topicOffset struct {
	partition int32
	offset    int64
}

type batchOf struct {
	offsets []topicOffset
	ack     func()
}

// waitsForAcks reports whether s hands out nothing before all that it has handed
// out is acknowledged: after two deaths records go one at a time (quarantine.go).
// The pipeline settles a batch as soon as it can. A member that kept each such
// record until it gave up waiting for another would need a minute for the doubt
// about one partition.
func waitsForAcks(s *Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open > 0 && s.alone()
}

func (m *member) settleAll(inFlight []batchOf) (none []batchOf) {
	for _, b := range inFlight {
		m.settle(b)
	}
	return nil
}

func (m *member) settle(b batchOf) {
	time.Sleep(time.Duration(m.rng.IntN(3)) * time.Millisecond) // the sink is a network away
	for _, o := range b.offsets {
		m.ledger.apply(o.partition, o.offset)
	}
	if !m.ackFirst {
		b.ack()
	}
}

// churn runs the members against a growing log until the group has committed
// all of it.
func churn(t *testing.T, records int, live func(context.Context, *world, *ledger, *rand.Rand, map[string]int) error) *ledger {
	w := newWorld(t, churnPartitions)
	l := &ledger{t: t}
	for range churnPartitions {
		l.applied = append(l.applied, map[int64]int{})
	}
	w.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.KeepControl()
		l.audit(r.(*kmsg.OffsetCommitRequest))
		return nil, nil, false
	})
	// It takes seconds. Sessions of 600 ms expire all the time on a machine that
	// has no time for them, and then it takes minutes.
	ctx, done := context.WithTimeout(context.Background(), 10*time.Minute)
	defer done()
	seed := seed(t)
	var members sync.WaitGroup
	lives := make([]map[string]int, churnMembers)
	for i := range churnMembers {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		lives[i] = map[string]int{}
		members.Go(func() {
			for ctx.Err() == nil {
				if err := live(ctx, w, l, rng, lives[i]); err != nil && ctx.Err() == nil {
					t.Errorf("member %d: %v", i, err)
					return
				}
			}
		})
	}
	each := int64(records / churnPartitions)
	for sent := int64(0); sent < each; sent += 100 {
		for p := range int32(churnPartitions) {
			values := make([]string, 100)
			for i := range values {
				values[i] = fmt.Sprintf("%d %d", p, sent+int64(i))
			}
			w.produce(t, p, values...)
		}
	}
	for ctx.Err() == nil && !t.Failed() {
		behind := 0
		for p := range int32(churnPartitions) {
			if w.committed(t, p) < each {
				behind++
			}
		}
		if behind == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("the group never committed everything")
	}
	done()
	members.Wait()
	distinct, total := l.counts()
	t.Logf("seed %d: %d of %d records applied, %d twice or more, %d partition commits, %d violations, lives %v",
		seed, distinct, records, total-distinct, l.commits, len(l.violations), lives)
	return l
}

func churnConfig(w *world) Config {
	cfg := w.config()
	cfg.SessionTimeout = 600 * time.Millisecond
	cfg.Heartbeat = 50 * time.Millisecond
	cfg.RebalanceTimeout = 2 * time.Second
	cfg.Batch.Events = 48
	cfg.Batch.Linger = 5 * time.Millisecond
	// The fake broker drops a member whose session ends while it waits for its
	// join to be answered (because another is frozen), and never answers. Kafka
	// keeps those that wait. The client gives up after the rebalance timeout and
	// this, which is 10 s by default.
	cfg.options = append(cfg.options, kgo.RequestTimeoutOverhead(2*time.Second))
	return cfg
}

func liveSource(ackFirst bool, adjust func(*Config)) func(context.Context, *world, *ledger, *rand.Rand, map[string]int) error {
	return func(ctx context.Context, w *world, l *ledger, rng *rand.Rand, lives map[string]int) error {
		cfg := churnConfig(w)
		if adjust != nil {
			adjust(&cfg)
		}
		m := &member{w: w, ledger: l, cfg: cfg, rng: rng, ackFirst: ackFirst, lives: lives}
		return m.live(ctx)
	}
}

// Three members join, leave, freeze, fail and are killed at random while their
// sinks fail: every record is applied, and no offset is ever committed before all
// below it are.
func TestChurnLosesNothing(t *testing.T) {
	t.Parallel()
	for name, adjust := range map[string]func(*Config){
		"cooperative-sticky": nil,
		"range":              func(c *Config) { c.Balancer = "range" },
		"next-gen":           func(c *Config) { c.NextGen = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := churn(t, churnRecords, liveSource(false, adjust))
			l.lostNothing(t, churnRecords)
		})
	}
}

// The control: the same run with the acknowledgement before the write.
func TestChurnControlAckBeforeApply(t *testing.T) {
	t.Parallel()
	l := churn(t, churnControl, liveSource(true, nil))
	l.lostSome(t)
}

// The control with the client's own helper: it commits what was polled, and
// with batches in flight that is more than what was applied.
func TestChurnControlCommitWhatWasPolled(t *testing.T) {
	t.Parallel()
	l := churn(t, churnControl, livePolled)
	l.lostSome(t)
}

func livePolled(ctx context.Context, w *world, l *ledger, rng *rand.Rand, lives map[string]int) error {
	cfg := churnConfig(w)
	cl, err := kgo.NewClient(append(cfg.options, kgo.SeedBrokers(cfg.Brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.SessionTimeout(cfg.SessionTimeout), kgo.HeartbeatInterval(cfg.Heartbeat), kgo.RebalanceTimeout(cfg.RebalanceTimeout),
		kgo.FetchMaxWait(cfg.FetchMaxWait), kgo.DisableAutoCommit())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	apply := func(rs []*kgo.Record) {
		for _, r := range rs {
			l.apply(r.Partition, r.Offset)
		}
	}
	var inFlight [][]*kgo.Record
	for range 5 + rng.IntN(40) {
		idle, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		fetches := cl.PollRecords(idle, cfg.Batch.Events)
		cancel()
		if fetches.Err() != nil { // idle
			for _, rs := range inFlight {
				apply(rs)
			}
			inFlight = nil
		} else if inFlight = append(inFlight, fetches.Records()); len(inFlight) < 3 {
			continue
		} else {
			apply(inFlight[0])
			inFlight = inFlight[1:]
		}
		_ = cl.CommitUncommittedOffsets(ctx)
	}
	lives["fails"]++
	return nil
}
