package cache

import (
	"sync"
	"time"
)

// breaker decides whether Redis is worth asking. It opens after a number of
// failures in a row; while it is open nobody asks, but for one probe at a
// time once the pause is over. A probe that fails doubles the pause.
type breaker struct {
	cfg Breaker
	now func() time.Time
	// changed is told when the breaker opens (with the failure) and when it
	// closes (nil). It is called one at a time, in order.
	changed func(cause error)

	mu       sync.Mutex
	failures int // in a row
	open     bool
	probing  bool
	pause    time.Duration
	retryAt  time.Time
}

// ticket is the right to ask Redis once. Whoever holds one must report.
type ticket struct{ probe bool }

// allow reports whether to ask Redis now. Only lookups probe: they come before
// the writes of the same batch.
func (b *breaker) allow(mayProbe bool) (ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return ticket{}, true
	}
	if !mayProbe || b.probing || b.now().Before(b.retryAt) {
		return ticket{}, false
	}
	b.probing = true
	return ticket{probe: true}, true
}

// succeeded closes the breaker: whoever asked, Redis answers.
func (b *breaker) succeeded(t ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.probe {
		b.probing = false
	}
	b.failures = 0
	if b.open {
		b.open = false
		b.changed(nil)
	}
}

// failed counts towards opening, or doubles the pause after a failed probe.
// Rounds that began before the breaker opened and fail late change nothing.
func (b *breaker) failed(t ticket, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case t.probe:
		b.probing = false
		b.pause = min(2*b.pause, b.cfg.MaxRetry)
		b.retryAt = b.now().Add(b.pause)
	case !b.open:
		if b.failures++; b.failures >= b.cfg.Failures {
			b.open = true
			b.pause = b.cfg.Retry
			b.retryAt = b.now().Add(b.pause)
			b.changed(cause)
		}
	}
}

// abandoned says nothing about Redis: the caller gave the round up.
func (b *breaker) abandoned(t ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.probe {
		b.probing = false
	}
}
