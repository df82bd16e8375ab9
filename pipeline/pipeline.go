package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"chunktide/chunk"
)

// Config bounds how long things may take.
type Config struct {
	// DrainTimeout is how long the batches in flight may take to become
	// durable once the worker is asked to stop (SIGTERM, Run's context); then
	// they are given up, and Kafka replays them.
	DrainTimeout time.Duration `mapstructure:"drain_timeout"`
	// StallTimeout is how long batches may be in flight without any stage
	// getting anywhere. A worker that is stuck keeps its partitions from
	// others and looks alive: better it ends.
	StallTimeout time.Duration `mapstructure:"stall_timeout"`
}

// DefaultConfig suits a worker under Kubernetes' usual grace period of 30
// seconds.
func DefaultConfig() Config {
	return Config{DrainTimeout: 25 * time.Second, StallTimeout: 5 * time.Minute}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	if c.DrainTimeout <= 0 {
		errs = append(errs, errors.New("drain_timeout: must be positive"))
	}
	if c.StallTimeout <= 0 {
		errs = append(errs, errors.New("stall_timeout: must be positive"))
	}
	return errors.Join(errs...)
}

// Report tells what became of one batch, after it was acknowledged.
type Report struct {
	// Events are the batch's.
	Events []chunk.Event
	// Points are the states that were stored.
	Points []chunk.Point
	// Rejected counts the events that went to the dead letters, Stale those
	// older than what the index held.
	Rejected, Stale int
	// Encoded counts the texts that went through the model, Tokens their
	// tokens.
	Encoded, Tokens int
	// Durable is when the index had acknowledged all of them.
	Durable time.Time
}

// Parts are what a pipeline is made of. Activity, Observe and Trace are
// optional.
type Parts struct {
	Source  Source
	Encoder Encoder
	Cache   Cache
	Sink    Sink
	// Activity counts signs of life from inside long calls, such as the sink's
	// retries. While it rises the pipeline is not stalled.
	Activity func() uint64
	// Observe is called after each batch, from one goroutine.
	Observe    func(Report)
	Trace      Trace
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Pipeline is one assembly line. It runs once.
type Pipeline struct {
	cfg     Config
	source  Source
	encoder Encoder
	cache   Cache
	sink    Sink
	observe func(Report)
	trace   Trace
	logger  *slog.Logger
	metrics *metrics

	watch   watch
	flights flights

	encoderRefusals, indexRefusals refusals
}

// New assembles a pipeline; Run starts it.
func New(cfg Config, parts Parts) *Pipeline {
	p := &Pipeline{
		cfg: cfg, source: parts.Source, encoder: parts.Encoder, cache: parts.Cache, sink: parts.Sink,
		observe: parts.Observe, trace: parts.Trace, logger: parts.Logger, metrics: newMetrics(parts.Registerer),
	}
	p.watch.init(cfg.StallTimeout, parts.Activity)
	return p
}

// ErrStalled is returned by Run when batches were in flight and nothing moved
// for the stall timeout.
var ErrStalled = errors.New("the pipeline stalled")

// Run moves batches from the source to the index until the source ends or ctx
// does; then it drains what is in flight and returns nil. On an error,
// ErrStalled, or a drain that took too long it returns an error: what was not
// acknowledged was not done.
func (p *Pipeline) Run(ctx context.Context) error {
	// Two contexts: the end of ctx stops the intake only, while the writes in
	// flight go on under one of their own.
	hard, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	group, writes := errgroup.WithContext(hard)
	intake, stopIntake := context.WithCancel(writes)
	defer stopIntake()
	defer context.AfterFunc(ctx, stopIntake)()

	// Unbuffered, so that a slow stage holds back the ones before it.
	polled, started, prepared := make(chan *work), make(chan *work), make(chan *work)
	group.Go(func() error { defer close(polled); return p.poll(intake, writes, polled) })
	group.Go(func() error { defer close(started); return p.embed(writes, group, polled, started) })
	group.Go(func() error { defer close(prepared); return inOrder(writes, started, prepared) })
	group.Go(func() error { return p.apply(writes, prepared) })
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	return p.supervise(ctx, done, abort)
}

// supervise waits for the stages, but not for ever.
func (p *Pipeline) supervise(ctx context.Context, done <-chan error, abort context.CancelCauseFunc) error {
	tick := time.NewTicker(p.cfg.StallTimeout / 8)
	defer tick.Stop()
	stop := ctx.Done()
	var drained <-chan time.Time
	for {
		select {
		case err := <-done:
			return err
		case <-stop:
			p.logger.Info("stopping: draining the batches in flight", "batches", p.watch.inFlight.Load(), "drain_timeout", p.cfg.DrainTimeout)
			stop, drained = nil, time.After(p.cfg.DrainTimeout)
		case <-drained:
			return giveUp(done, abort, fmt.Errorf("%d batches did not drain within pipeline.drain_timeout (%s); their records will be replayed",
				p.watch.inFlight.Load(), p.cfg.DrainTimeout))
		case <-tick.C:
			if err := p.Moving(); err != nil {
				return giveUp(done, abort, err)
			}
		}
	}
}

// giveUpGrace is how long the stages may take to notice that they were
// cancelled. One that is stuck in a foreign library never does.
const giveUpGrace = 2 * time.Second

func giveUp(done <-chan error, abort context.CancelCauseFunc, cause error) error {
	abort(cause)
	grace := time.NewTimer(giveUpGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return errors.Join(cause, err)
	case <-grace.C:
		return cause
	}
}

// Moving returns nil while the pipeline gets on, or has nothing to do, and an
// error that wraps ErrStalled otherwise. It may be called at any time, from
// any goroutine.
func (p *Pipeline) Moving() error { return p.watch.check(time.Now()) }

func (p *Pipeline) poll(intake, writes context.Context, out chan<- *work) error {
	for {
		start := time.Now()
		batch, err := p.source.Next(intake)
		switch {
		case err == nil:
		// Not errors.Is: a connection that breaks is an error that wraps io.EOF,
		// and it is not the end of the source.
		case err == io.EOF, intake.Err() != nil: //nolint:errorlint // see above
			return nil //nolint:nilerr // the end of the source, or of the intake, is no failure
		default:
			return fmt.Errorf("read the next batch: %w", err)
		}
		p.watch.begin()
		p.metrics.stages["poll"].Observe(time.Since(start).Seconds())
		select {
		case out <- newWork(batch):
		case <-writes.Done():
			return nil
		}
	}
}

// embed prepares batches, each in a goroutine of its own. Out takes the next
// one only when the one before it is ready, so two are at work at once: while
// the last texts of one are in the model, those of the next fill it up.
func (p *Pipeline) embed(ctx context.Context, group *errgroup.Group, in <-chan *work, out chan<- *work) error {
	for w := range in {
		w.ready = make(chan struct{})
		group.Go(func() error {
			start := time.Now()
			p.watch.enter(embedding)
			if err := p.prepare(p.trace.follow(ctx, w, start), w); err != nil {
				w.tracks.failed()
				return err
			}
			p.watch.leave(embedding)
			w.embedded = time.Now()
			p.metrics.stages["embed"].Observe(w.embedded.Sub(start).Seconds())
			close(w.ready)
			return nil
		})
		select {
		case out <- w:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// inOrder passes batches on when they are ready, in the order in which they
// were started.
func inOrder(ctx context.Context, in <-chan *work, out chan<- *work) error {
	for w := range in {
		select {
		case <-w.ready:
		case <-ctx.Done():
			return nil
		}
		select {
		case out <- w:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (p *Pipeline) apply(ctx context.Context, in <-chan *work) error {
	for w := range in {
		start := time.Now()
		p.watch.enter(applying)
		w.tracks.next("apply", w.embedded, start)
		if err := p.settle(ctx, w); err != nil {
			w.tracks.failed()
			return err
		}
		p.watch.leave(applying)
		w.batch.Ack()
		p.watch.end()
		now := time.Now()
		p.metrics.stages["apply"].Observe(now.Sub(start).Seconds())
		p.metrics.settled(w, now)
		w.tracks.settled(w, now)
		if p.observe != nil {
			p.observe(w.report(now))
		}
	}
	return nil
}

func (w *work) report(now time.Time) Report {
	r := Report{Events: w.batch.Events, Points: w.stored, Encoded: w.encoded, Tokens: w.encodedTokens, Durable: now}
	for _, o := range w.outcomes {
		switch o {
		case rejected:
			r.Rejected++
		case stale:
			r.Stale++
		case applied, superseded:
		}
	}
	return r
}
