package pipeline

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// watch notices when batches are in flight and nothing moves. Kafka's own
// max.poll.interval does not exist in this client, and its heartbeats go on
// whatever the stages do.
type watch struct {
	timeout  time.Duration
	activity func() uint64
	inFlight atomic.Int64
	moved    atomic.Uint64
	// busy counts the batches that a stage is at work on.
	busy [2]atomic.Int32

	mu sync.Mutex
	// seen is moved plus activity when it last changed, at since.
	seen  uint64
	since time.Time
}

func (w *watch) init(timeout time.Duration, activity func() uint64) {
	w.timeout, w.activity, w.since = timeout, activity, time.Now()
	if activity == nil {
		w.activity = func() uint64 { return 0 }
	}
}

func (w *watch) begin() { w.inFlight.Add(1); w.beat() }
func (w *watch) beat()  { w.moved.Add(1) }
func (w *watch) end()   { w.beat(); w.inFlight.Add(-1) }

// stage is where a batch can be stuck.
type stage int

const (
	embedding stage = iota
	applying
)

func (w *watch) enter(s stage) { w.busy[s].Add(1) }
func (w *watch) leave(s stage) { w.busy[s].Add(-1); w.beat() }

// stuckIn names the stage that holds up the others.
func (w *watch) stuckIn() string {
	switch {
	case w.busy[applying].Load() > 0: // and an embed stage behind it only waits
		return "the apply stage"
	case w.busy[embedding].Load() > 0:
		return "the embed stage"
	default:
		return "no stage"
	}
}

// check looks whether anything moved since it last looked.
func (w *watch) check(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := w.moved.Load() + w.activity()
	inFlight := w.inFlight.Load()
	if count != w.seen || inFlight == 0 {
		w.seen, w.since = count, now
		return nil
	}
	if still := now.Sub(w.since); still > w.timeout {
		return fmt.Errorf("%w: %d batches are in flight, in %s, and nothing has moved for %s; "+
			"the worker ends, so that others take its partitions over: if it was only slow, raise pipeline.stall_timeout (%s)",
			ErrStalled, inFlight, w.stuckIn(), still.Round(time.Second), w.timeout)
	}
	return nil
}
