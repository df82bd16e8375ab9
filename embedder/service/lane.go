package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"chunktide/chunk"
	"chunktide/embedder"
)

// errStopping means that the service is about to end.
var errStopping = errors.New("the service is stopping")

// busyError means that the queue is full.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string {
	return fmt.Sprintf("the encoder has more to do than it admits: come back after %s", e.after)
}

// job is what one caller asks for.
type job struct {
	sequences []embedder.Sequence
	arrived   time.Time
	next      int // the first that is in no batch yet
	left      int // without an outcome
	out       []chunk.Embedding
	errs      map[int]error
	done      chan struct{}
}

// item is one sequence of a job.
type item struct {
	job   *job
	index int
}

// lane is the queue of one model and one kind of text. Its jobs take turns,
// one sequence each, to fill the next batch.
type lane struct {
	encode  func(context.Context, []embedder.Sequence) ([]chunk.Embedding, error)
	linger  time.Duration
	budget  int // tokens of a batch, though a single sequence may have more
	bound   int // tokens that may wait
	logger  *slog.Logger
	metrics *laneMetrics

	// forming has a place for the worker that puts the next batch together.
	forming chan struct{}
	// changed has a token whenever something came, or the lane was closed.
	changed chan struct{}

	mu     sync.Mutex
	turns  []*job // those with sequences that are in no batch, in turn
	tokens int    // of these sequences
	closed bool
	rate   float64 // tokens a second, of late
}

func newLane(cfg Config, e embedder.SequenceEncoder, logger *slog.Logger, m *laneMetrics) *lane {
	return &lane{
		encode: e.EncodeSequences, linger: cfg.Linger, budget: cfg.BatchTokens, bound: cfg.QueueTokens,
		logger: logger, metrics: m, forming: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

// do queues the sequences and waits for their embeddings; errs are those that
// were refused, by index. When ctx ends first, what is in no batch yet leaves
// the queue.
func (l *lane) do(ctx context.Context, sequences []embedder.Sequence) (out []chunk.Embedding, errs map[int]error, err error) {
	j := &job{
		sequences: sequences, arrived: time.Now(), left: len(sequences),
		out: make([]chunk.Embedding, len(sequences)), errs: map[int]error{}, done: make(chan struct{}),
	}
	if len(sequences) == 0 {
		return nil, nil, nil
	}
	if err := l.admit(j); err != nil {
		return nil, nil, err
	}
	select {
	case <-j.done:
		return j.out, j.errs, nil
	case <-ctx.Done():
		l.withdraw(j)
		return nil, nil, ctx.Err()
	}
}

func tokensOf(sequences []embedder.Sequence) (n int) {
	for _, s := range sequences {
		n += len(s.IDs)
	}
	return n
}

func (l *lane) admit(j *job) error {
	tokens := tokensOf(j.sequences)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errStopping
	}
	if l.tokens+tokens > l.bound {
		return &busyError{after: l.waitLocked()}
	}
	l.turns = append(l.turns, j)
	l.countLocked(tokens)
	l.signal()
	return nil
}

// The longest and the shortest time after which a caller is told to come back.
const (
	shortestWait = time.Second
	longestWait  = 60 * time.Second
)

// waitLocked is about how long half of what waits will take: then there is
// room again.
func (l *lane) waitLocked() time.Duration {
	if l.rate == 0 {
		return shortestWait
	}
	seconds := math.Ceil(float64(l.tokens) / 2 / l.rate)
	return min(max(time.Duration(seconds)*time.Second, shortestWait), longestWait)
}

func (l *lane) countLocked(tokens int) {
	l.tokens += tokens
	l.metrics.queued.Add(float64(tokens))
}

func (l *lane) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// withdraw takes out what is in no batch yet.
func (l *lane) withdraw(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.turns {
		if other == j {
			l.turns = append(l.turns[:i:i], l.turns[i+1:]...)
			l.countLocked(-tokensOf(j.sequences[j.next:]))
			l.metrics.withdrawn.Inc()
			return
		}
	}
}

// close lets the workers end once the queue is empty.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.signal()
}

// work takes batches to the encoder until the lane is closed and empty.
func (l *lane) work(ctx context.Context) {
	for {
		batch := l.form()
		if batch == nil {
			return
		}
		l.run(ctx, batch)
	}
}

// form waits for the next batch: until its tokens are there, or its first
// sequence has lingered. It is nil when the lane is closed and empty.
func (l *lane) form() []item {
	l.forming <- struct{}{}
	defer func() { <-l.forming }()
	for {
		batch, wait, over := l.try()
		if batch != nil || over {
			return batch
		}
		if wait == 0 {
			<-l.changed
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// try returns a batch if it is time for one; otherwise how long to wait for
// more, 0 being for ever; or that it is over.
func (l *lane) try() (batch []item, wait time.Duration, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.turns) == 0 {
		if l.closed {
			l.signal() // for the next worker
		}
		return nil, 0, l.closed
	}
	oldest := l.turns[0].arrived
	for _, j := range l.turns[1:] {
		if j.arrived.Before(oldest) {
			oldest = j.arrived
		}
	}
	if wait := l.linger - time.Since(oldest); wait > 0 && l.tokens < l.budget && !l.closed {
		return nil, wait, false
	}
	return l.takeLocked(), 0, false
}

// takeLocked fills a batch: a sequence of each job in turn, until the next
// does not fit. Its job stays in front.
func (l *lane) takeLocked() []item {
	var batch []item
	tokens := 0
	for len(l.turns) > 0 {
		j := l.turns[0]
		n := len(j.sequences[j.next].IDs)
		if len(batch) > 0 && tokens+n > l.budget {
			break
		}
		batch = append(batch, item{job: j, index: j.next})
		tokens += n
		j.next++
		l.turns = l.turns[1:]
		if j.next < len(j.sequences) {
			l.turns = append(l.turns, j)
		}
	}
	l.countLocked(-tokens)
	l.metrics.batch.Observe(float64(tokens))
	return batch
}

// run encodes a batch and gives each job its part.
func (l *lane) run(ctx context.Context, batch []item) {
	sequences := make([]embedder.Sequence, len(batch))
	for i, it := range batch {
		sequences[i] = it.job.sequences[it.index]
	}
	start := time.Now()
	out := make([]chunk.Embedding, len(batch))
	errs := make([]error, len(batch))
	l.encodeAll(ctx, sequences, out, errs)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.measureLocked(tokensOf(sequences), time.Since(start))
	for i, it := range batch {
		if errs[i] != nil {
			it.job.errs[it.index] = errs[i]
		} else {
			it.job.out[it.index] = out[i]
		}
		if it.job.left--; it.job.left == 0 {
			close(it.job.done)
		}
	}
}

// measureLocked follows the speed, the last batches counting most.
func (l *lane) measureLocked(tokens int, took time.Duration) {
	const weight = 0.2
	rate := float64(tokens) / max(took.Seconds(), 1e-6)
	if l.rate == 0 {
		l.rate = rate
	}
	l.rate += weight * (rate - l.rate)
}

// encodeAll fills out and errs. A batch that fails for good is halved until
// the culprit stands alone: a caller must not suffer from another's text.
func (l *lane) encodeAll(ctx context.Context, sequences []embedder.Sequence, out []chunk.Embedding, errs []error) {
	got, err := l.guarded(ctx, sequences)
	var rejected *chunk.Rejected
	_, permanent := chunk.ReasonOf(err)
	switch {
	case err == nil || errors.As(err, &rejected):
		if len(got) != len(sequences) {
			fail(errs, fmt.Errorf("the encoder returned %d vectors for %d texts", len(got), len(sequences)))
			return
		}
		copy(out, got)
		if rejected != nil {
			for i, cause := range rejected.Texts {
				errs[i] = cause
			}
		}
	case permanent && len(sequences) > 1:
		half := len(sequences) / 2
		l.encodeAll(ctx, sequences[:half], out[:half], errs[:half])
		l.encodeAll(ctx, sequences[half:], out[half:], errs[half:])
	default:
		if !permanent && ctx.Err() == nil {
			l.logger.Error("the encoder failed", "texts", len(sequences), "error", err)
		}
		fail(errs, err)
	}
}

func fail(errs []error, err error) {
	for i := range errs {
		errs[i] = err
	}
}

// guarded makes a panic a refusal, as the worker's pipeline does: what was
// panicked with may hold text, and is not logged.
func (l *lane) guarded(ctx context.Context, sequences []embedder.Sequence) (out []chunk.Embedding, err error) {
	defer func() {
		if recover() != nil {
			l.logger.Error("the encoder panicked, which is a bug: please report it", "stack", string(debug.Stack()))
			err = chunk.Permanentf(chunk.ReasonPanicked, "the encoder panicked: the service's log has the stack")
		}
	}()
	return l.encode(ctx, sequences)
}
