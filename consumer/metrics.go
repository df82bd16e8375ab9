package consumer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"chunktide/chunk"
)

type metrics struct {
	bytes       prometheus.Gauge
	commits     *prometheus.CounterVec
	rebalances  *prometheus.CounterVec
	batches     *prometheus.CounterVec
	letters     *prometheus.CounterVec
	lettersCut  prometheus.Counter
	looksFailed prometheus.Counter
}

// newMetrics registers them on reg, which may be nil, with the backlog of s.
// Every series of a closed set of labels is there from the start, at zero.
func newMetrics(reg prometheus.Registerer, s *Source) *metrics {
	if reg != nil {
		reg.MustRegister(newBacklogMetrics(s))
	}
	f := promauto.With(reg)
	counters := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	m := &metrics{
		bytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "chunktide_buffered_bytes", Help: "Bytes of records that wait or are in flight, out of buffer_bytes.",
		}),
		commits: counters("chunktide_commits_total", "Offset commits by what the broker answered.", "result", commitClasses[:]...),
		rebalances: counters("chunktide_rebalances_total", "Changes of this worker's partitions.", "kind",
			"assigned", "revoked", "lost"),
		batches: counters("chunktide_batches_total", "Micro-batches by the bound that closed them.", "closed_by",
			byTokens, byEvents, byBytes, byLinger, byEnd, byDoubt),
		letters: counters("chunktide_dead_letters_total", "Records in the dead-letter topic, by reason.", "reason"),
		lettersCut: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_dead_letters_cut_total", Help: "Dead letters that only point to their record, which was too large to copy.",
		}),
		looksFailed: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_backlog_look_failures_total",
			Help: "Questions to the brokers about the log's end that were not answered; the backlog is counted from the end that was seen before.",
		}),
	}
	for _, r := range chunk.Reasons() {
		m.letters.WithLabelValues(string(r))
	}
	return m
}

func (m *metrics) closed(by string)          { m.batches.WithLabelValues(by).Inc() }
func (m *metrics) committed(c commitClass)   { m.commits.WithLabelValues(commitClasses[c]).Inc() }
func (m *metrics) deadLetter(r chunk.Reason) { m.letters.WithLabelValues(string(r)).Inc() }
func (m *metrics) rebalanced(kind string)    { m.rebalances.WithLabelValues(kind).Inc() }
func (m *metrics) buffered(bytes int64)      { m.bytes.Set(float64(bytes)) }
