package backfill

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottleHoldsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle, start := NewThrottle(100), time.Now()
		for range 5 {
			if err := throttle.Wait(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
		}
		// The first second's tokens are there at once.
		if took := time.Since(start); took < 48*time.Second || took > 50*time.Second {
			t.Errorf("5000 tokens at 100/s took %s", took)
		}
		if throttle.Activity() < 40 {
			t.Errorf("%d signs of life in 50 seconds", throttle.Activity())
		}
		// The control: without a bound nothing waits.
		start = time.Now()
		if err := NewThrottle(0).Wait(t.Context(), 1<<40); err != nil || time.Since(start) != 0 {
			t.Errorf("waited %s, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := throttle.Wait(ctx, 1<<20); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
