package embedder

import (
	"context"
	"slices"
	"sync"
)

// model is a loaded graph; [session] is the real one. Its methods may be
// called by several goroutines at once.
type model interface {
	// run puts r through the graph and calls use with the output, which is
	// valid until use returns: texts × padded length × hidden values, or texts
	// × hidden if the graph pools. It ends early when ctx does.
	run(ctx context.Context, r run, use func(out []float32)) error
	close() error
}

// lanes are the places in which runs go on, over all calls: each has a model,
// and several may share one. A lane that falls free goes to the earliest call
// that waits for one. So a call is never held up by a later one, and the next
// call's runs fill the lanes that the tail of the one before leaves free.
type lanes struct {
	mu      sync.Mutex
	free    []model
	waiting []*waiter // by call, then by arrival
}

type waiter struct {
	call  uint64
	given chan model // of capacity 1
}

func newLanes(models []model) *lanes { return &lanes{free: models} }

// take waits for a lane. The call's number says who comes first.
func (l *lanes) take(ctx context.Context, call uint64) (model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if len(l.free) > 0 { // then nobody waits
		m := l.free[0]
		l.free = l.free[1:]
		l.mu.Unlock()
		return m, nil
	}
	w := &waiter{call: call, given: make(chan model, 1)}
	at := len(l.waiting)
	for at > 0 && l.waiting[at-1].call > call {
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, w)
	l.mu.Unlock()

	select {
	case m := <-w.given:
		return m, nil
	case <-ctx.Done():
		l.leave(w)
		return nil, ctx.Err()
	}
}

// keep is give and take in one: the call goes on with its lane, unless an
// earlier one waits. If it returns an error the lane was given back.
func (l *lanes) keep(ctx context.Context, m model, call uint64) (model, error) {
	l.mu.Lock()
	earlier := len(l.waiting) > 0 && l.waiting[0].call < call
	l.mu.Unlock()
	if !earlier {
		return m, nil
	}
	l.give(m)
	return l.take(ctx, call)
}

// leave takes w out of the queue, or passes on what it was given meanwhile.
func (l *lanes) leave(w *waiter) {
	l.mu.Lock()
	at := slices.Index(l.waiting, w)
	if at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
	l.mu.Unlock()
	if at < 0 {
		l.give(<-w.given)
	}
}

// give returns a lane.
func (l *lanes) give(m model) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.free = append(l.free, m)
		return
	}
	w := l.waiting[0]
	l.waiting = l.waiting[1:]
	w.given <- m
}

// together calls work on n goroutines at once and returns when all of them
// have ended. A panic in one of them goes on in the caller, who may recover
// it: elsewhere it would take the process down.
func together(n int, work func()) {
	if n <= 1 {
		work()
		return
	}
	var wg sync.WaitGroup
	panics := make(chan any, n)
	for range n {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panics <- v
				}
			}()
			work()
		})
	}
	wg.Wait()
	select {
	case v := <-panics:
		panic(v)
	default:
	}
}
