package embedder

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What a text was encoded for, the label of the counters.
const (
	kindDocument = "document"
	kindQuery    = "query"
)

type metrics struct {
	texts   *prometheus.CounterVec
	tokens  *prometheus.CounterVec
	padding prometheus.Histogram
	// Of models that run: bounds and what broke them.
	runTokens   prometheus.Gauge
	outOfMemory prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		texts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_model_calls_total",
			Help: "Texts that went through the model.",
		}, []string{"kind"}),
		tokens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_tokens_encoded_total",
			Help: "Tokens that went through the model, padding excluded.",
		}, []string{"kind"}),
		padding: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "chunktide_padding_ratio",
			Help:    "Share of the tokens of a call to the encoder that were padding.",
			Buckets: []float64{0, .01, .02, .05, .1, .2, .3, .5, .75},
		}),
		runTokens: f.NewGauge(prometheus.GaugeOpts{
			Name: "chunktide_run_tokens_limit",
			Help: "Most padded tokens of a run of several texts; less than embedder.run_tokens after the device ran out of memory.",
		}),
		outOfMemory: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_out_of_memory_total",
			Help: "Runs of the model for which the device had no memory; they were repeated in parts.",
		}),
	}
	for _, kind := range []string{kindDocument, kindQuery} {
		m.texts.WithLabelValues(kind)
		m.tokens.WithLabelValues(kind)
	}
	return m
}

// encoded counts one call: padded is tokens plus padding.
func (m *metrics) encoded(kind string, texts, tokens, padded int) {
	m.texts.WithLabelValues(kind).Add(float64(texts))
	m.tokens.WithLabelValues(kind).Add(float64(tokens))
	if padded > 0 {
		m.padding.Observe(float64(padded-tokens) / float64(padded))
	}
}
