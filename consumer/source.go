package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// Source is one member of a consumer group. Next is called from one
// goroutine; everything else may be called from any.
type Source struct {
	cfg     Config
	client  *kgo.Client
	admin   *kadm.Client
	decode  func(chunk.Record) ([]chunk.Event, error)
	tokens  func(string) int
	logger  *slog.Logger
	metrics *metrics
	letters deadLetters
	finite  *finite // nil unless the source ends

	// hard ends when the source is closed: until then dead letters and
	// commits are retried.
	hard  context.Context
	abort context.CancelFunc
	// intake ends when Close begins.
	intake     context.Context
	stopIntake context.CancelFunc
	loops      sync.WaitGroup
	// slot is held by whoever commits. A rebalance waits for it, so that no
	// commit is under way while partitions change hands.
	slot chan struct{}
	// look asks for the log's end at once.
	look chan struct{}

	mu sync.Mutex
	// changed is closed and replaced whenever something below changes. All
	// waiting is done on it, without the mutex, so that nothing that waits
	// keeps an acknowledgement or a callback from going through.
	changed  chan struct{}
	parts    map[topicPartition]*partition
	former   former
	inFlight int64 // bytes handed out and not acknowledged
	open     int   // batches handed out and not acknowledged
	held     *held
	err      error // fatal; sticky
	reading  bool  // records were polled and are being decoded
	sessions int   // how often a group session has begun
	closing  bool
	died     bool // see Died
	progress meter
	mean     mean // tokens of a record, as lately read
}

// held is a batch that was cut and waits for its dead letters.
type held struct {
	batch   *batch
	letters *delivery
	marked  bool // there are marks to be committed before it goes out
	inDoubt bool // it is one record, and goes out alone
	// uncleared: a record in doubt went well before it, which is to be committed
	// before it goes out.
	uncleared bool
}

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("the source is closed")

// New connects, checks the topics, and joins the group. ctx bounds that much
// and no more. decode turns a record into events, with a permanent error for
// one that is malformed; tokens tells about how many of a text the model will
// read, and is called for every text. A nil reg
// registers no metrics. The source runs until Close.
func New(ctx context.Context, cfg Config, decode func(chunk.Record) ([]chunk.Event, error),
	tokens func(text string) int, logger *slog.Logger, reg prometheus.Registerer,
) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Source{
		cfg: cfg, decode: decode, tokens: tokens, logger: logger,
		slot:    make(chan struct{}, 1),
		look:    make(chan struct{}, 1),
		changed: make(chan struct{}),
		parts:   map[topicPartition]*partition{},
		former:  former{bounds: cfg.Batch},
		mean:    newMean(cfg.Batch),
	}
	if m := cfg.SASL.Mechanism; (m == "plain" || m == oauthBearer) && !cfg.TLS.Enabled && !cfg.loopback() {
		logger.Warn("the mechanism sends a password or token in the clear where tls is off: enable kafka.tls, or use scram-sha-512", "mechanism", m)
	}
	opts, err := ClientOptions(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, opts); err != nil {
		return nil, err
	}
	group, err := s.groupOptions()
	if err != nil {
		return nil, err
	}
	s.metrics = newMetrics(reg, s)
	s.hard, s.abort = context.WithCancel(context.WithoutCancel(ctx))
	s.intake, s.stopIntake = context.WithCancel(s.hard)
	// The callbacks may run before NewClient returns; they use the client they
	// are given and commit nothing before something was polled.
	if s.client, err = kgo.NewClient(slices.Concat(group, opts)...); err != nil {
		s.abort()
		return nil, fmt.Errorf("set up the Kafka client: %w", err)
	}
	s.admin = kadm.NewClient(s.client)
	s.letters = deadLetters{client: s.client, topic: cfg.DeadLetters(), metrics: s.metrics}
	s.loops.Go(s.read)
	s.loops.Go(s.commitLoop)
	s.loops.Go(s.watchEnds)
	if s.finite != nil {
		s.loops.Go(s.watchOthers)
	}
	return s, nil
}

// Next returns the next micro-batch: events of any partitions, in log order
// within each. It blocks until a batch is full or its oldest record has
// lingered long enough, and until the dead letters of the batch's malformed
// records are durable. An error other than ctx's and io.EOF is fatal and comes
// again on every call.
func (s *Source) Next(ctx context.Context) (chunk.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return chunk.Batch{}, err
		}
		h, wait, err := s.hold(time.Now())
		if err != nil {
			return chunk.Batch{}, err
		}
		if h != nil {
			return s.release(ctx, h)
		}
		if err := wait.until(ctx); err != nil {
			return chunk.Batch{}, err
		}
	}
}

// hold cuts a batch if one is due; otherwise it says what to wait for.
func (s *Source) hold(now time.Time) (*held, *wakeup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, nil, s.err
	case s.closing:
		return nil, nil, ErrClosed
	case s.held != nil: // by a call whose context ended
		return s.held, nil, nil
	}
	if s.alone() {
		if s.former.n == 0 || s.open > 0 {
			return nil, &wakeup{changed: s.changed}, nil
		}
		s.metrics.closed(byDoubt)
		s.held = s.cut(s.former.cutOne())
		s.held.inDoubt = true
		return s.held, nil, nil
	}
	by, ok := s.former.closed(now, s.linger())
	if !ok && s.sessions > 0 && !s.reading && s.finite.read(s.parts) {
		switch {
		case s.former.n > 0:
			by, ok = byEnd, true // nothing will join it
		case s.finite.over(s.parts):
			return nil, nil, io.EOF
		}
	}
	if ok {
		s.metrics.closed(by)
		s.held = s.cut(s.former.cut())
		s.held.uncleared = s.uncleared()
		return s.held, nil, nil
	}
	w := &wakeup{changed: s.changed}
	if s.former.n > 0 {
		w.at = s.former.due(s.linger())
	}
	return nil, w, nil
}

// linger is how long the oldest record waits for others. The mutex must be
// held.
func (s *Source) linger() time.Duration {
	if s.open == 0 {
		return s.cfg.Batch.IdleLinger
	}
	return s.cfg.Batch.Linger
}

// release hands out a batch when its dead letters are durable. If ctx ends
// before, the batch stays held for the next call.
func (s *Source) release(ctx context.Context, h *held) (chunk.Batch, error) {
	if h.letters != nil {
		if err := h.letters.wait(ctx); err != nil {
			if ctx.Err() == nil {
				s.fail(err)
			}
			return chunk.Batch{}, err
		}
	}
	if h.marked || h.inDoubt || h.uncleared {
		if err := s.commitMarks(ctx, h.inDoubt || h.uncleared); err != nil {
			return chunk.Batch{}, err
		}
	}
	s.mu.Lock()
	s.held = nil
	s.mu.Unlock()
	return h.batch.public(), nil
}

// wakeup is something to wait for: a change, or a time unless it is zero.
type wakeup struct {
	changed <-chan struct{}
	at      time.Time
}

// until waits; it returns ctx's error if ctx ended first.
func (w *wakeup) until(ctx context.Context) error {
	var due <-chan time.Time
	if !w.at.IsZero() {
		timer := time.NewTimer(time.Until(w.at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-w.changed:
		return nil
	case <-due:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// notify wakes all who wait. The mutex must be held.
func (s *Source) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// fail makes err what Next returns from now on.
func (s *Source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.notify()
}

// Close stops reading, commits what was acknowledged, and leaves the group, so
// that the others take over at once (a static member stays: see
// [Config.InstanceID]). It does not wait for batches in flight: drain before.
// ctx bounds it; an error means that some records will be read again.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	s.notify()
	s.mu.Unlock()
	s.stopIntake()

	err := within(ctx, s.loops.Wait)
	if err == nil {
		s.forgiveAll(s.all())
		s.settleRead()
		err = s.commitNow(ctx)
	}
	if leave := s.client.LeaveGroupContext(ctx); leave != nil {
		err = errors.Join(err, fmt.Errorf("leave group %s: %w", s.cfg.Group, leave))
	}
	s.abort()
	// With the group left this is quick; without, it may wait for a broker
	// that does not answer.
	err = errors.Join(err, within(ctx, s.client.CloseAllowingRebalance))
	s.forgetAll()
	if err != nil {
		return fmt.Errorf("close the Kafka source: %w", err)
	}
	return nil
}

// forgetAll ends the assignments that leaving the group did not.
func (s *Source) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		s.forget(p)
	}
}

func (s *Source) all() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.parts))
}

// within runs f and returns when it has, or when ctx ends.
func within(ctx context.Context, f func()) error {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Assigned lists the partitions of this member by topic, in order. It is nil
// until the member has joined its group; a spare member has joined and has
// none.
func (s *Source) Assigned() map[string][]int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == 0 {
		return nil
	}
	assigned := map[string][]int32{}
	for id := range s.parts {
		assigned[id.topic] = append(assigned[id.topic], id.partition)
	}
	for _, ps := range assigned {
		slices.Sort(ps)
	}
	return assigned
}
