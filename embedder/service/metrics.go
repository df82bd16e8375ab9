package service

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The lanes, as labels.
const (
	laneQuery    = "query"
	laneDocument = "document"
)

// The APIs, as labels, and the statuses that they answer with.
const (
	apiEmbeddings = "embeddings"
	apiModels     = "models"
	apiEmbed      = "embed"
	apiInfo       = "info"
)

var statuses = []int{
	http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestEntityTooLarge,
	http.StatusUnprocessableEntity, http.StatusTooManyRequests, statusGone, http.StatusInternalServerError, http.StatusServiceUnavailable,
}

type metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	aliases   *prometheus.CounterVec
	queued    *prometheus.GaugeVec
	withdrawn *prometheus.CounterVec
	batch     *prometheus.HistogramVec
}

// laneMetrics are those of one kind of text; all models count together.
type laneMetrics struct {
	queued    prometheus.Gauge
	withdrawn prometheus.Counter
	batch     prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_serve_requests_total",
			Help: "Requests answered, by API and HTTP status.",
		}, []string{"api", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chunktide_serve_request_duration_seconds",
			Help:    "Time from a request's first byte to its answer.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"api"}),
		aliases: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_serve_alias_lookups_total",
			Help: "Questions to the index about what an alias serves.",
		}, []string{"result"}),
		queued: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "chunktide_serve_queue_tokens",
			Help: "Tokens that wait for the encoder.",
		}, []string{"kind"}),
		withdrawn: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_serve_withdrawn_total",
			Help: "Requests whose caller went away while they waited.",
		}, []string{"kind"}),
		batch: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chunktide_serve_batch_tokens",
			Help:    "Tokens of a batch.",
			Buckets: prometheus.ExponentialBuckets(8, 2, 14),
		}, []string{"kind"}),
	}
	for _, api := range []string{apiEmbeddings, apiModels, apiEmbed, apiInfo} {
		m.seconds.WithLabelValues(api)
		for _, status := range statuses {
			m.requests.WithLabelValues(api, strconv.Itoa(status))
		}
	}
	for _, kind := range []string{laneQuery, laneDocument} {
		m.lane(kind)
	}
	for _, result := range []string{"ok", "failed"} {
		m.aliases.WithLabelValues(result)
	}
	return m
}

func (m *metrics) answered(api string, status int, took time.Duration) {
	m.requests.WithLabelValues(api, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(api).Observe(took.Seconds())
}

func (m *metrics) lane(kind string) *laneMetrics {
	return &laneMetrics{
		queued: m.queued.WithLabelValues(kind), withdrawn: m.withdrawn.WithLabelValues(kind), batch: m.batch.WithLabelValues(kind),
	}
}
