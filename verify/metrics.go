package verify

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Gauges show the last look on the metrics.
type Gauges struct {
	divergence *prometheus.GaugeVec
	at         prometheus.Gauge
	failures   prometheus.Counter
}

// NewGauges registers them on reg, which may be nil. Every kind is there from
// the start, at zero.
func NewGauges(reg prometheus.Registerer) *Gauges {
	f := promauto.With(reg)
	g := &Gauges{
		divergence: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "chunktide_index_divergence", Help: "Points that differ from the source, by kind, as the last look found them.",
		}, []string{"kind"}),
		at: f.NewGauge(prometheus.GaugeOpts{
			Name: "chunktide_index_verified_timestamp_seconds", Help: "When the last look that got to its end began; 0 before.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_index_verify_failures_total", Help: "Looks that did not get to their end.",
		}),
	}
	for _, k := range Kinds() {
		g.divergence.WithLabelValues(string(k))
	}
	return g
}

// Set shows a report.
func (g *Gauges) Set(r Report) {
	for _, k := range Kinds() {
		g.divergence.WithLabelValues(string(k)).Set(float64(r.Differences[k]))
	}
	g.at.Set(float64(r.Begun.UnixNano()) / 1e9)
}

// Failed counts a look that ended before its time.
func (g *Gauges) Failed() { g.failures.Inc() }
