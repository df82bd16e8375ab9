package cache

import (
	"errors"
	"slices"
	"testing"
	"time"
)

var errDown = errors.New("down")

func newTestBreaker() (*breaker, *clock, *[]error) {
	clk, changes := &clock{}, &[]error{}
	return &breaker{
		cfg:     Breaker{Failures: 3, Retry: time.Second, MaxRetry: 5 * time.Second},
		now:     clk.now,
		changed: func(err error) { *changes = append(*changes, err) },
	}, clk, changes
}

func (b *breaker) mustAllow(t *testing.T) ticket {
	t.Helper()
	got, ok := b.allow(true)
	if !ok {
		t.Fatal("not allowed")
	}
	return got
}

func TestBreakerOpensOnFailuresInARow(t *testing.T) {
	b, _, changes := newTestBreaker()
	for range 10 {
		b.failed(b.mustAllow(t), errDown)
		b.failed(b.mustAllow(t), errDown)
		b.succeeded(b.mustAllow(t))
	}
	for range 3 {
		b.failed(b.mustAllow(t), errDown)
		b.abandoned(ticket{})
	}
	if _, ok := b.allow(true); ok || !slices.Equal(*changes, []error{errDown}) {
		t.Errorf("open %v, changes %v", !ok, *changes)
	}
}

func TestBreakerProbesOneAtATimeWithBackoff(t *testing.T) {
	b, clk, changes := newTestBreaker()
	late := b.mustAllow(t)
	for range 3 {
		b.failed(b.mustAllow(t), errDown)
	}
	for _, pause := range []time.Duration{1, 2, 4, 5, 5} {
		clk.move(pause*time.Second - 1)
		if _, ok := b.allow(true); ok {
			t.Fatalf("a probe before %d s are over", pause)
		}
		clk.move(1)
		if _, ok := b.allow(false); ok {
			t.Fatal("a write probes")
		}
		// A probe that is given up makes room for the next.
		b.abandoned(b.mustAllow(t))
		probe := b.mustAllow(t)
		if _, ok := b.allow(true); ok {
			t.Fatal("two probes at once")
		}
		b.failed(late, errDown)
		if _, ok := b.allow(true); ok {
			t.Fatal("a late failure ended the probe")
		}
		b.failed(probe, errDown)
	}
	clk.move(time.Hour)
	b.succeeded(b.mustAllow(t))
	for range 2 { // the count begins anew
		b.failed(b.mustAllow(t), errDown)
	}
	if !slices.Equal(*changes, []error{errDown, nil}) {
		t.Errorf("changes %v", *changes)
	}
	b.failed(b.mustAllow(t), errDown)
	clk.move(time.Second) // and so does the pause
	b.succeeded(b.mustAllow(t))
}
