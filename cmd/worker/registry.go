package worker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// NewRegistry is one with what the runtime and the process say.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// ShowBuild says on the metrics what runs: a program, and its models.
func ShowBuild(reg prometheus.Registerer, version string, models ...string) {
	info := promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
		Name: "chunktide_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "model_version"})
	for _, m := range models {
		info.WithLabelValues(version, m).Set(1)
	}
}
