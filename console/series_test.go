package console

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/cost"
)

func histogramOf(bounds []float64, counts ...float64) *histogram {
	h := &histogram{}
	for i, n := range counts {
		h.Count += number(n)
		up := math.Inf(1)
		if i < len(bounds) {
			up = bounds[i]
		}
		h.Buckets = append(h.Buckets, bucket{number(up), h.Count})
	}
	h.estimate()
	return h
}

// same compares as the page does: what is not known is the same as what is not
// known.
func same(a, b number) bool {
	return math.IsNaN(float64(a)) && math.IsNaN(float64(b)) || math.Abs(float64(a-b)) < 1e-9
}

func TestQuantilesAndShares(t *testing.T) {
	bounds := []float64{1, 2, 4}
	for name, tt := range map[string]struct {
		h              *histogram
		p50, p95, in15 number
	}{
		"empty":                      {histogramOf(bounds, 0, 0, 0, 0), unknown, unknown, unknown},
		"all in one bucket":          {histogramOf(bounds, 0, 10, 0, 0), 1.5, 1.95, .5},
		"all in the first":           {histogramOf(bounds, 4, 0, 0, 0), .5, .95, 1},
		"half and half":              {histogramOf(bounds, 10, 0, 10, 0), 1, 3.8, .5},
		"beyond the last bound":      {histogramOf(bounds, 0, 0, 0, 3), 4, 4, 0},
		"one far out":                {histogramOf(bounds, 19, 0, 0, 1), 10. / 19, 1, .95},
		"no bounds at all":           {histogramOf(nil, 3), unknown, unknown, 0},
		"a first bound of zero":      {histogramOf([]float64{0, 1}, 8, 2, 0), 0, .75, 1},
		"a first bound below zero":   {histogramOf([]float64{-1, 1}, 8, 2, 0), -1, .5, 1},
		"many, where rounding tells": {histogramOf(bounds, 1e9, 1e9, 0, 0), 1, 1.9, .75},
	} {
		if !same(tt.h.P50, tt.p50) || !same(tt.h.P95, tt.p95) {
			t.Errorf("%s: p50 %v, p95 %v; want %v, %v", name, tt.h.P50, tt.h.P95, tt.p50, tt.p95)
		}
		if got := tt.h.within(1.5); !same(got, tt.in15) {
			t.Errorf("%s: %v within 1.5, want %v", name, got, tt.in15)
		}
	}
	if h := histogramOf(bounds, 3, 1, 0, 0); h.within(1) != .75 || h.within(99) != 1 || h.within(0) != 0 {
		t.Errorf("at a bound %v, above all %v, at zero %v", h.within(1), h.within(99), h.within(0))
	}
	var none *histogram
	if !same(none.within(1), unknown) {
		t.Error("no histogram has a share")
	}
}

func TestDifferencesOfHistograms(t *testing.T) {
	bounds := []float64{1, 2}
	before, after := histogramOf(bounds, 5, 0, 0), histogramOf(bounds, 5, 4, 0)
	d := after.minus(before)
	if d == nil || d.Count != 4 || !same(d.P50, 1.5) || d.Buckets[0].N != 0 || d.Buckets[1].N != 4 {
		t.Errorf("%+v", d)
	}
	for name, other := range map[string]*histogram{"none": nil, "other buckets": histogramOf([]float64{1}, 1, 1), "one that has more": histogramOf(bounds, 50, 0, 0)} {
		if d := after.minus(other); d != nil {
			t.Errorf("minus %s: %+v", name, d)
		}
	}
}

// counted is a registry as a worker has it.
type counted struct {
	reg    *prometheus.Registry
	events *prometheus.CounterVec
	fresh  prometheus.Histogram
	tokens *prometheus.CounterVec
	saved  prometheus.Counter
	lag    *prometheus.GaugeVec
}

func newCounted() *counted {
	c := &counted{
		reg:    prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricEvents, Help: "x"}, []string{"op", "result"}),
		fresh:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: metricFreshness, Help: "x", Buckets: []float64{1, 5, 30}}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricEncoded, Help: "x"}, []string{"kind"}),
		saved:  prometheus.NewCounter(prometheus.CounterOpts{Name: metricTokensSaved, Help: "x"}),
		lag:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricLag, Help: "x"}, []string{"topic", "partition"}),
	}
	c.reg.MustRegister(c.events, c.fresh, c.tokens, c.saved, c.lag)
	return c
}

func (c *counted) sample(t *testing.T, at time.Time) *sample {
	t.Helper()
	gathered, err := c.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return newSample(at, gathered)
}

func TestRatesAreOfTheLastSeconds(t *testing.T) {
	c, p, at := newCounted(), past{}, time.Unix(1000, 0)
	applied := c.events.WithLabelValues("upsert", "applied")
	applied.Add(1000) // long ago
	if window, recent := p.add(c.sample(t, at)); window != 0 || recent != 0 {
		t.Errorf("a first sample is compared over %v and %v s", window, recent)
	}
	for range 90 {
		at = at.Add(time.Second)
		applied.Add(4)
		c.fresh.Observe(3)
		p.add(c.sample(t, at))
	}
	at = at.Add(time.Second)
	applied.Add(26) // one second of much more
	c.lag.WithLabelValues("chunks", "0").Set(7)
	c.lag.WithLabelValues("chunks", "1").Set(5)
	last := c.sample(t, at)
	window, recent := p.add(last)
	one := last.find(metricEvents, "op=upsert,result=applied")
	// 10 or 11 seconds, one of them with 26 in place of 4.
	if want := (4*(window-1) + 26) / window; window < 10 || window > 11 || !same(one.Rate, number(want)) {
		t.Errorf("%v a second over %v s, want %v", one.Rate, window, want)
	}
	if recent < 60 || recent > 65 {
		t.Errorf("the last minute has %v s", recent)
	}
	if fresh := last.find(metricFreshness, ""); fresh.Count != 90 || fresh.Recent == nil || float64(fresh.Recent.Count) > recent {
		t.Errorf("%+v", fresh)
	}
	newest := p.points[len(p.points)-1]
	if newest.Events != 26 || newest.Lag != 12 || !same(newest.Tokens, unknown) {
		t.Errorf("the last second is %+v", newest)
	}
	if len(p.samples) > 67 || len(p.points) != 91 {
		t.Errorf("%d samples and %d points are kept", len(p.samples), len(p.points))
	}
	// The past ends, and a counter may begin anew.
	c.events.Reset()
	c.events.WithLabelValues("upsert", "applied").Add(3)
	again := c.sample(t, at.Add(time.Second))
	p.add(again)
	if rate := again.find(metricEvents, "op=upsert,result=applied").Rate; !same(rate, unknown) || !same(p.points[len(p.points)-1].Events, unknown) {
		t.Errorf("a counter that began anew has a rate of %v", rate)
	}
	later := c.sample(t, at.Add(time.Hour))
	if window, _ := p.add(later); window != 0 || len(p.points) != 0 || len(p.samples) != 1 {
		t.Errorf("after an hour it is compared over %v s; %d points are kept", window, len(p.points))
	}
}

func TestASnapshotSaysWhatItKnows(t *testing.T) {
	c := newCounted()
	c.fresh.Observe(.5)
	c.fresh.Observe(20)
	c.tokens.WithLabelValues("document").Add(1_000_000)
	c.tokens.WithLabelValues("query").Add(500_000)
	c.saved.Add(3_000_000)
	price := cost.PerMillion(big.NewRat(1, 50))
	s := snapshot{Objective: 5}
	s.fill(c.sample(t, time.Unix(1000, 0)), &price)
	if s.Within != .5 || !same(s.WithinRecent, unknown) {
		t.Errorf("%v within the objective, %v lately", s.Within, s.WithinRecent)
	}
	if s.Money == nil || s.Money.Spent != "0.030" || s.Money.Saved != "0.060" || s.Money.PerMillion != "0.020" {
		t.Errorf("%+v", s.Money)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"started":null`, `"within_recent":null`, `"le":null`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	var empty snapshot
	empty.fill(newSample(time.Unix(1000, 0), nil), &price)
	if !same(empty.Within, unknown) || empty.Money != nil || empty.Version != "" {
		t.Errorf("of nothing: %+v", empty)
	}
	free := snapshot{}
	free.fill(c.sample(t, time.Unix(1000, 0)), nil)
	if free.Money != nil {
		t.Error("without a price there is money")
	}
}
