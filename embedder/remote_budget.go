package embedder

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// budget keeps requests within what a service sells a minute, so that it need
// not refuse them: a refused request costs a round trip, and with some
// services counts as well. A token bucket of ten seconds evens out bursts. Each
// worker has a budget of its own: share a service's limit out among them.
type budget struct {
	requests, tokens *rate.Limiter
}

// bucketSeconds is for how long unused budget is kept.
const bucketSeconds = 10

func newBudget(c RemoteConfig) budget {
	limiter := func(perMinute, atLeast int) *rate.Limiter {
		if perMinute == 0 {
			return rate.NewLimiter(rate.Inf, 0)
		}
		return rate.NewLimiter(rate.Limit(float64(perMinute)/60), max(perMinute*bucketSeconds/60, atLeast))
	}
	return budget{limiter(c.RequestsPerMinute, 1), limiter(c.TokensPerMinute, c.RequestTokens)}
}

// wait returns when a request of so many tokens is within the budget. What no
// bucket holds, which is one long text, waits for a whole one.
func (b budget) wait(ctx context.Context, tokens int) error {
	if err := b.requests.Wait(ctx); err != nil {
		return err
	}
	if b.tokens.Limit() != rate.Inf {
		tokens = min(tokens, b.tokens.Burst())
	}
	return b.tokens.WaitN(ctx, tokens)
}

// budgetPause is the longest that the next request of all waits for its turn.
func (c RemoteConfig) budgetPause() time.Duration {
	pause := time.Duration(0)
	if c.RequestsPerMinute > 0 {
		pause = time.Minute / time.Duration(c.RequestsPerMinute)
	}
	if c.TokensPerMinute > 0 {
		pause += time.Minute * time.Duration(c.RequestTokens) / time.Duration(c.TokensPerMinute)
	}
	return pause
}
