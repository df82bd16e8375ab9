package cache

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// outcome is what became of one lookup in one tier.
type outcome uint8

const (
	hit outcome = iota
	miss
	corrupt
	failed
)

var outcomes = [...]string{hit: "hit", miss: "miss", corrupt: "corrupt", failed: "error"}

// stored is what became of one vector given to Put.
type stored uint8

const (
	written stored = iota // new in Redis
	present               // Redis had one already
	unwritten
	refused
)

var storeds = [...]string{written: "written", present: "present", unwritten: "error", refused: "refused"}

type metrics struct {
	memory [len(outcomes)]prometheus.Counter
	redis  [len(outcomes)]prometheus.Counter
	stores [len(storeds)]prometheus.Counter
	up     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, m *memory) *metrics {
	f := promauto.With(reg)
	lookups := f.NewCounterVec(prometheus.CounterOpts{
		Name: "chunktide_cache_lookups_total",
		Help: "Vectors looked up, by tier and what became of it; error is one that Redis was not asked for or did not answer.",
	}, []string{"tier", "result"})
	stores := f.NewCounterVec(prometheus.CounterOpts{
		Name: "chunktide_cache_stores_total",
		Help: "Vectors given to Redis: written, present already, error, or refused because they are no valid vector.",
	}, []string{"result"})
	x := &metrics{up: f.NewGauge(prometheus.GaugeOpts{
		Name: "chunktide_cache_up",
		Help: "0 while Redis is left alone after failures, else 1.",
	})}
	for o, label := range outcomes {
		x.memory[o] = lookups.WithLabelValues("memory", label)
		x.redis[o] = lookups.WithLabelValues("redis", label)
	}
	for s, label := range storeds {
		x.stores[s] = stores.WithLabelValues(label)
	}
	x.up.Set(1)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chunktide_cache_memory_bytes", Help: "Bytes that the cache's memory tier takes.",
	}, func() float64 { _, bytes := m.size(); return float64(bytes) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chunktide_cache_memory_entries", Help: "Vectors in the cache's memory tier.",
	}, func() float64 { n, _ := m.size(); return float64(n) })
	return x
}
