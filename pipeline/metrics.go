package pipeline

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"chunktide/chunk"
)

type metrics struct {
	freshness   prometheus.Histogram
	stages      map[string]prometheus.Observer
	batchEvents prometheus.Histogram
	batchTokens prometheus.Histogram
	events      map[chunk.Op][len(outcomes)]prometheus.Counter
	callsSaved  prometheus.Counter
	tokensSaved prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		freshness: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "chunktide_freshness_seconds",
			Help:    "Time from a change at its source to its being durable in the index.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400},
		}),
		batchEvents: f.NewHistogram(prometheus.HistogramOpts{
			Name: "chunktide_batch_events", Help: "Events in a micro-batch.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 13),
		}),
		batchTokens: f.NewHistogram(prometheus.HistogramOpts{
			Name: "chunktide_batch_tokens", Help: "Tokens of the distinct texts that a micro-batch stored.",
			Buckets: prometheus.ExponentialBuckets(16, 2, 14),
		}),
		callsSaved: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_model_calls_saved_total",
			Help: "Upserts that needed no model call: cached, repeated, superseded or already stored.",
		}),
		tokensSaved: f.NewCounter(prometheus.CounterOpts{
			Name: "chunktide_tokens_saved_total", Help: "Tokens that did not go through the model because their vector was known.",
		}),
		stages: map[string]prometheus.Observer{},
		events: map[chunk.Op][len(outcomes)]prometheus.Counter{},
	}
	stages := f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "chunktide_stage_duration_seconds", Help: "Time a micro-batch spent in a stage.",
		Buckets: prometheus.ExponentialBuckets(.001, 2, 17),
	}, []string{"stage"})
	for _, s := range []string{"poll", "embed", "apply"} {
		m.stages[s] = stages.WithLabelValues(s)
	}
	events := f.NewCounterVec(prometheus.CounterOpts{
		Name: "chunktide_events_total", Help: "Events by operation and what became of them.",
	}, []string{"op", "result"})
	for _, op := range []chunk.Op{chunk.Upsert, chunk.Delete, chunk.DeleteDocument} {
		var byOutcome [len(outcomes)]prometheus.Counter
		for o := range outcomes {
			byOutcome[o] = events.WithLabelValues(op.String(), outcomes[o])
		}
		m.events[op] = byOutcome
	}
	return m
}

// settled counts a batch that is durable since now.
func (m *metrics) settled(w *work, now time.Time) {
	upserts := 0
	for i := range w.batch.Events {
		e := &w.batch.Events[i]
		m.events[e.Op][w.outcomes[i]].Inc()
		if w.outcomes[i] == rejected {
			continue
		}
		m.freshness.Observe(max(0, now.Sub(e.Time).Seconds()))
		if e.Op == chunk.Upsert {
			upserts++
		}
	}
	m.batchEvents.Observe(float64(len(w.batch.Events)))
	tokens := 0
	seen := make(map[chunk.Hash]bool, len(w.stored))
	for i := range w.stored {
		if p := &w.stored[i]; p.Op == chunk.Upsert && !seen[p.Hash] {
			seen[p.Hash] = true
			tokens += p.Embedding.Tokens
		}
	}
	m.batchTokens.Observe(float64(tokens))
	m.callsSaved.Add(float64(max(0, upserts-w.encoded)))
	m.tokensSaved.Add(float64(w.tokensSaved))
}
