package canary

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics show the rounds.
type Metrics struct {
	seconds prometheus.Histogram
	rounds  map[Result]prometheus.Counter
	success prometheus.Gauge
}

// NewMetrics registers them on reg, every result at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	rounds := f.NewCounterVec(prometheus.CounterOpts{
		Name: "chunktide_canary_rounds_total", Help: "Rounds of the canary by what became of them.",
	}, []string{"result"})
	m := &Metrics{
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "chunktide_canary_seconds",
			Help:    "Time from publishing an edit of the marker chunk to finding it by search.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		rounds: map[Result]prometheus.Counter{},
		success: f.NewGauge(prometheus.GaugeOpts{
			Name: "chunktide_canary_last_success_timestamp_seconds", Help: "When the last round began that came through; 0 before.",
		}),
	}
	for _, r := range Results() {
		m.rounds[r] = rounds.WithLabelValues(string(r))
	}
	return m
}

func (m *Metrics) found(after time.Duration) {
	if m != nil {
		m.seconds.Observe(after.Seconds())
	}
}

func (m *Metrics) count(r Round) {
	if m == nil {
		return
	}
	m.rounds[r.Result].Inc()
	if r.Result == OK {
		m.success.Set(float64(r.Started.UnixNano()) / 1e9)
	}
}
