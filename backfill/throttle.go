package backfill

import (
	"context"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Throttle bounds a rate of tokens. It is safe for concurrent use.
type Throttle struct {
	limiter *rate.Limiter
	second  int
	waited  atomic.Uint64
}

// NewThrottle lets so many tokens through a second; 0 lets all through. Over
// any stretch of time it is exceeded by one second's tokens at most.
func NewThrottle(tokensPerSecond int) *Throttle {
	t := &Throttle{second: tokensPerSecond}
	if tokensPerSecond > 0 {
		t.limiter = rate.NewLimiter(rate.Limit(tokensPerSecond), tokensPerSecond)
	}
	return t
}

// Bounded reports whether anything is ever waited for.
func (t *Throttle) Bounded() bool { return t.limiter != nil }

// Wait returns when so many tokens may be used, or with ctx's error. More than
// a second's worth are waited for in portions, so that a long wait shows signs
// of life.
func (t *Throttle) Wait(ctx context.Context, tokens int) error {
	for t.Bounded() && tokens > 0 {
		n := min(tokens, t.second)
		if err := t.limiter.WaitN(ctx, n); err != nil {
			return err
		}
		tokens -= n
		t.waited.Add(1)
	}
	return nil
}

// Activity counts the portions. While it rises a pipeline that waits here is
// not stalled.
func (t *Throttle) Activity() uint64 { return t.waited.Load() }
