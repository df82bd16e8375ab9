package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/embedder/tune"
)

func TestMedianAndQuantile(t *testing.T) {
	if m := tune.Median([]float64{5, 1, 3}); m != 3 {
		t.Errorf("median %v", m)
	}
	if m := tune.Median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v", m)
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i
	}
	for q, want := range map[float64]int{.5: 50, .99: 99, .999: 99, 1: 99} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
}

func batches(ats ...int) *drive {
	d := &drive{}
	for _, at := range ats {
		d.batches = append(d.batches, settled{at: time.Unix(int64(at), 0), events: 10, encoded: 10})
	}
	return d
}

// The first batch only says when the clock begins.
func TestRates(t *testing.T) {
	d := batches(100, 101, 102, 104)
	if r := d.rate(settled.count); r != 7.5 {
		t.Errorf("rate %v, want 30 events in 4 s", r)
	}
	if r := d.rateSince(time.Unix(101, 0)); r != 20./3 {
		t.Errorf("rate since %v, want 20 events in 3 s", r)
	}
	if r := batches(1).rate(settled.count); r != 0 {
		t.Errorf("rate %v of one batch", r)
	}
	if r := d.rateSince(time.Unix(104, 0)); r != 0 {
		t.Errorf("rate since %v of one batch", r)
	}
}

// A device takes one call at a time, as long as its figures say, and ends with
// its context.
func TestDeviceTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(time.Second, time.Millisecond)
		start := time.Now()
		done := make(chan error)
		for range 2 {
			go func() {
				_, err := d.Encode(t.Context(), []string{"one", "two"})
				done <- err
			}()
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 2*(time.Second+2*time.Millisecond) {
			t.Errorf("two calls took %s", took)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if _, err := d.Encode(ctx, []string{"three"}); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestMarkdown(t *testing.T) {
	r := Result{Name: "(x) a name", Bar: "≥ 1", Met: true, Note: "A note.", Head: []string{"a", "b"}, Rows: [][]string{{"1", "2"}}}
	want := "### (x) a name\n\n≥ 1: **met**. A note.\n\n| a | b |\n| ---: | ---: |\n| 1 | 2 |\n"
	if got := r.Markdown(); got != want {
		t.Errorf("%q", got)
	}
	r.Met = false
	if !strings.Contains(r.Markdown(), "**missed**") {
		t.Error("a bar that was missed is not told")
	}
}

func TestThePlotHoldsItsCurves(t *testing.T) {
	r := Result{Name: "(x) a plot", Plot: &Plot{X: "load", Y: "time", LogX: true, LogY: true}}
	for i := 1; i <= 1000; i *= 10 {
		r.Plot.add("first", float64(i), float64(i))
		r.Plot.add("second", float64(i), float64(2*i))
	}
	svg, err := r.SVG()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "(x) a plot", "load", "time", "first", "second"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %q in it", want)
		}
	}
	if len(r.Plot.Curves) != 2 || len(r.Plot.Curves[1].XY) != 4 {
		t.Errorf("curves: %v", r.Plot.Curves)
	}
}
