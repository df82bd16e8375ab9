package chaos

import (
	"context"
	"math"
	"sync"
)

// stage is how far the stream has come. It ties the faults to the stream both
// ways: a fault waits for its place, and the stream waits at it until it has
// begun.
type stage struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	published int
	next      map[lane]int // where the lane's next fault stands
}

func newStage(s Schedule) *stage {
	st := &stage{changed: make(chan struct{}), next: map[lane]int{}}
	for l, faults := range s {
		st.next[l] = faults[0].At
	}
	return st
}

func (s *stage) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns when holds says so; it is asked after every change.
func (s *stage) await(ctx context.Context, holds func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// room waits until more records may be published, and says how many there may
// be in all.
func (s *stage) room(ctx context.Context) (limit int, err error) {
	err = s.await(ctx, func() bool {
		limit = math.MaxInt
		for _, at := range s.next {
			limit = min(limit, at)
		}
		return limit > s.published
	})
	return limit, err
}

// publish says how many are published by now.
func (s *stage) publish(n int) { s.change(func() { s.published = n }) }

// begin waits for the place of a fault. Then the stream may go on to the one
// after it.
func (s *stage) begin(ctx context.Context, l lane, faults []Fault) error {
	if err := s.await(ctx, func() bool { return s.published >= faults[0].At }); err != nil {
		return err
	}
	s.change(func() {
		delete(s.next, l)
		if len(faults) > 1 {
			s.next[l] = faults[1].At
		}
	})
	return nil
}

func (s *stage) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published
}
