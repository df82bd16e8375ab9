package sink

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The operations that requests are counted under.
const (
	opEnsure = "ensure"
	opWrite  = "write"
	opRead   = "read"
	opScroll = "scroll"
	opCount  = "count"
	opSearch = "search"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	retries  prometheus.Counter
	fenced   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_sink_requests_total", Help: "Requests to Qdrant by operation and result, each attempt counted.",
		}, []string{"op", "result"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chunktide_sink_request_seconds", Help: "Duration of attempts.", Buckets: prometheus.ExponentialBuckets(.001, 2, 16),
		}, []string{"op"}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_sink_retries_total", Help: "Attempts that were repeated.",
		}),
		// The server does not say which points it skipped, so this counts what
		// was sent under the fence, not what the fence held back.
		fenced: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_fenced_writes_total", Help: "Points written under the version fence.",
		}),
	}
	for _, op := range []string{opEnsure, opWrite, opRead, opScroll, opCount, opSearch} {
		m.requests.WithLabelValues(op, "ok")
		m.requests.WithLabelValues(op, "error")
		m.duration.WithLabelValues(op)
	}
	return m
}

func (m *metrics) observe(op string, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.requests.WithLabelValues(op, result).Inc()
	m.duration.WithLabelValues(op).Observe(took.Seconds())
}
