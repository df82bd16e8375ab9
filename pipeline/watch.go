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
		return fmt.Errorf("%w: %d batches in flight and no progress for %s (pipeline.stall_timeout is %s)",
			ErrStalled, inFlight, still.Round(time.Second), w.timeout)
	}
	return nil
}
