package console

import (
	"encoding/json"
	"math"
	"sort"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// number is a float64 whose JSON is null where it is none: JSON knows neither
// NaN nor infinity.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

var unknown = number(math.NaN())

func (n number) known() bool { return !math.IsNaN(float64(n)) }

// series is one line of /metrics, or a histogram's lines, at one moment.
type series struct {
	Labels map[string]string `json:"labels,omitempty"`
	// Value is that of a counter or a gauge.
	Value number `json:"value"`
	// Rate is a counter's increase a second over the last seconds.
	Rate number `json:"rate"`
	// Histogram is nil for a counter or a gauge.
	*histogram
	// Recent is what was observed in the last minute.
	Recent *histogram `json:"recent,omitempty"`
}

// histogram has its buckets as Prometheus has them: cumulative, the last one
// without a bound.
type histogram struct {
	Count   number   `json:"count"`
	Sum     number   `json:"sum"`
	Buckets []bucket `json:"buckets"`
	// The quantiles are estimates, as PromQL's histogram_quantile makes them.
	P50 number `json:"p50"`
	P95 number `json:"p95"`
	P99 number `json:"p99"`
}

type bucket struct {
	UpTo number `json:"le"` // null for the last
	N    number `json:"n"`
}

// family is a metric with all of its series.
type family struct {
	Type   string             `json:"type"`
	Series map[string]*series `json:"series"`
}

// sample is all metrics of a moment.
type sample struct {
	at       time.Time
	families map[string]*family
}

// shown are the metrics that go to the page.
func shown(name string) bool {
	return strings.HasPrefix(name, "chunktide_") || name == metricStart || name == "process_resident_memory_bytes"
}

const metricStart = "process_start_time_seconds"

func newSample(at time.Time, gathered []*dto.MetricFamily) *sample {
	s := &sample{at: at, families: map[string]*family{}}
	for _, f := range gathered {
		if !shown(f.GetName()) {
			continue
		}
		out := &family{Type: strings.ToLower(f.GetType().String()), Series: map[string]*series{}}
		for _, m := range f.GetMetric() {
			one := &series{Value: unknown, Rate: unknown}
			var key strings.Builder
			for i, l := range m.GetLabel() { // in the order of their names
				if i > 0 {
					key.WriteByte(',')
				}
				key.WriteString(l.GetName() + "=" + l.GetValue())
				if one.Labels == nil {
					one.Labels = map[string]string{}
				}
				one.Labels[l.GetName()] = l.GetValue()
			}
			switch {
			case m.Counter != nil:
				one.Value = number(m.Counter.GetValue())
			case m.Gauge != nil:
				one.Value = number(m.Gauge.GetValue())
			case m.Untyped != nil:
				one.Value = number(m.Untyped.GetValue())
			case m.Histogram != nil:
				one.histogram = newHistogram(m.Histogram)
			}
			out.Series[key.String()] = one
		}
		s.families[f.GetName()] = out
	}
	return s
}

func newHistogram(from *dto.Histogram) *histogram {
	h := &histogram{Count: number(from.GetSampleCount()), Sum: number(from.GetSampleSum())}
	for _, b := range from.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			h.Buckets = append(h.Buckets, bucket{number(b.GetUpperBound()), number(b.GetCumulativeCount())})
		}
	}
	h.Buckets = append(h.Buckets, bucket{number(math.Inf(1)), h.Count})
	h.estimate()
	return h
}

func (h *histogram) estimate() {
	h.P50, h.P95, h.P99 = h.quantile(.5), h.quantile(.95), h.quantile(.99)
}

// Quantile is the value that a share q of a histogram's observations do not
// exceed; false where that is not known. It is estimated as PromQL does.
func Quantile(h *dto.Histogram, q float64) (float64, bool) {
	n := newHistogram(h).quantile(q)
	return float64(n), n.known()
}

// quantile goes linearly through the bucket in which it lies; of what lies
// beyond the last bound it says the bound.
func (h *histogram) quantile(q float64) number {
	if h.Count <= 0 {
		return unknown
	}
	rank := number(q) * h.Count
	i := sort.Search(len(h.Buckets)-1, func(i int) bool { return h.Buckets[i].N >= rank })
	if i == len(h.Buckets)-1 {
		if i == 0 {
			return unknown
		}
		return h.Buckets[i-1].UpTo
	}
	low, below := number(0), number(0)
	if i > 0 {
		low, below = h.Buckets[i-1].UpTo, h.Buckets[i-1].N
	} else if h.Buckets[0].UpTo <= 0 {
		return h.Buckets[0].UpTo
	}
	return low + (h.Buckets[i].UpTo-low)*(rank-below)/(h.Buckets[i].N-below)
}

// within is the share of the observations that did not exceed a bound: exact
// where that is a bucket's, else linear between two. What lies beyond the last
// bucket's bound counts as more.
func (h *histogram) within(bound float64) number {
	if h == nil || h.Count <= 0 {
		return unknown
	}
	low, below := number(0), number(0)
	for _, b := range h.Buckets[:len(h.Buckets)-1] {
		if number(bound) < b.UpTo {
			if b.UpTo <= low {
				return below / h.Count
			}
			return (below + (b.N-below)*(number(bound)-low)/(b.UpTo-low)) / h.Count
		}
		low, below = b.UpTo, b.N
	}
	return below / h.Count
}

// minus is what was observed since before; nil if before is another histogram
// or has more.
func (h *histogram) minus(before *histogram) *histogram {
	if before == nil || len(before.Buckets) != len(h.Buckets) || before.Count > h.Count {
		return nil
	}
	d := &histogram{Count: h.Count - before.Count, Sum: h.Sum - before.Sum, Buckets: make([]bucket, len(h.Buckets))}
	for i, b := range h.Buckets {
		d.Buckets[i] = bucket{b.UpTo, b.N - before.Buckets[i].N}
	}
	d.estimate()
	return d
}

// get is the sum of a metric's series; unknown if there is none.
func (s *sample) get(name string) number {
	f := s.families[name]
	if f == nil || len(f.Series) == 0 {
		return unknown
	}
	sum := number(0)
	for _, one := range f.Series {
		sum += one.Value
	}
	return sum
}

// label is one that every series of a metric has, of any of them.
func (s *sample) label(metric, name string) string {
	if f := s.families[metric]; f != nil {
		for _, one := range f.Series {
			return one.Labels[name]
		}
	}
	return ""
}

// since fills in what is known only by an earlier sample: rates, and what a
// histogram observed.
func (s *sample) since(rates, recent *sample) {
	for name, f := range s.families {
		for key, one := range f.Series {
			if one.histogram != nil {
				if before := recent.find(name, key); before != nil {
					one.Recent = one.minus(before.histogram)
				}
			} else if f.Type == "counter" {
				one.Rate = rate(rates.find(name, key), one, s.at.Sub(rates.at))
			}
		}
	}
}

func (s *sample) find(name, key string) *series {
	if f := s.families[name]; f != nil {
		return f.Series[key]
	}
	return nil
}

// rate is unknown where the counter was not there before, or began anew.
func rate(before, after *series, took time.Duration) number {
	if before == nil || took <= 0 || after.Value < before.Value {
		return unknown
	}
	return (after.Value - before.Value) / number(took.Seconds())
}
