package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"chunktide/console"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// workerReported is what a worker tells of itself.
type workerReported struct {
	URL string `json:"url"`
	// Asked says that the URL was given; at the default one nobody need answer.
	Asked bool   `json:"asked"`
	Error string `json:"error,omitempty"`
	// NotReady is why the worker could not make an event searchable now, and
	// Unwell why it ought to be restarted.
	NotReady string `json:"not_ready,omitempty"`
	Unwell   string `json:"unwell,omitempty"`

	Model string `json:"model_version,omitempty"`
	// BacklogEvents wait in its partitions, and take DrainSeconds at the rate
	// EventsPerSecond, that of the last minute with a backlog.
	BacklogEvents   float64 `json:"backlog_events"`
	EventsPerSecond float64 `json:"events_per_second"`
	DrainSeconds    float64 `json:"drain_seconds"`
	// The quantiles of freshness, in seconds, are since the worker's start; nil
	// if nothing was applied since.
	FreshnessP50 *float64 `json:"freshness_p50_seconds,omitempty"`
	FreshnessP99 *float64 `json:"freshness_p99_seconds,omitempty"`
	// HitRate is the share of upserts that needed no model call, since the start.
	HitRate *float64  `json:"hit_rate,omitempty"`
	Started time.Time `json:"started,omitzero"`
}

// maxMetrics bounds what is read of an answer; a worker's is some 50 kB.
const maxMetrics = 16 << 20

// askWorker reads metrics and health from an admin port.
func askWorker(ctx context.Context, client *http.Client, address string, asked bool) workerReported {
	base := strings.TrimSuffix(strings.TrimSuffix(address, "/"), "/metrics")
	w := workerReported{URL: base, Asked: asked}
	if u, err := url.Parse(base); err != nil || u.Host == "" {
		w.Error = fmt.Sprintf("%q is no URL: want one like http://worker-0:9470", address)
		return w
	}
	body, code, err := get(ctx, client, base+"/metrics")
	switch {
	case err != nil:
		w.Error = oneLine(err.Error())
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusMisdirectedRequest:
		w.Error = fmt.Sprintf("/metrics answers with %d: give the worker's admin.token and admin.tls here too", code)
	case code != http.StatusOK:
		w.Error = fmt.Sprintf("/metrics answers with %d: is this the admin port of chunktide run?", code)
	default:
		w.Error = w.read(strings.NewReader(body))
	}
	if w.Error != "" {
		return w
	}
	for path, into := range map[string]*string{"/readyz": &w.NotReady, "/healthz": &w.Unwell} {
		switch body, code, err := get(ctx, client, base+path); {
		case err != nil:
			*into = oneLine(err.Error())
		case code != http.StatusOK:
			*into = oneLine(body)
		}
	}
	return w
}

func get(ctx context.Context, client *http.Client, address string) (body string, code int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Accept", "text/plain; version=0.0.4")
	response, err := client.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxMetrics))
	return string(text), response.StatusCode, err
}

// read takes a worker's numbers out of Prometheus' text format, and returns
// what is wrong with it.
func (w *workerReported) read(in io.Reader) string {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(in)
	if err != nil {
		return "its /metrics are not in Prometheus' text format: " + oneLine(err.Error())
	}
	if families["chunktide_backlog_events"] == nil {
		return "its /metrics have no chunktide_backlog_events: is this the admin port of chunktide run, of this version?"
	}
	sum := func(name string, labels ...string) (n float64) {
		for _, m := range families[name].GetMetric() {
			if has(m, labels...) {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			}
		}
		return n
	}
	w.BacklogEvents, w.DrainSeconds = sum("chunktide_backlog_events"), sum("chunktide_backlog_drain_seconds")
	w.EventsPerSecond = sum("chunktide_drain_rate_events_per_second")
	if start := sum("process_start_time_seconds"); start > 0 {
		w.Started = time.UnixMilli(int64(1000 * start)).UTC()
	}
	calls, saved := sum("chunktide_model_calls_total", "kind", "document"), sum("chunktide_model_calls_saved_total")
	if calls+saved > 0 {
		rate := saved / (calls + saved)
		w.HitRate = &rate
	}
	for _, m := range families["chunktide_freshness_seconds"].GetMetric() {
		w.FreshnessP50, w.FreshnessP99 = quantile(m.GetHistogram(), .5), quantile(m.GetHistogram(), .99)
	}
	for _, m := range families["chunktide_build_info"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "model_version" {
				w.Model = printable(l.GetValue())
			}
		}
	}
	return ""
}

func has(m *dto.Metric, labels ...string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// quantile is nil without observations.
func quantile(h *dto.Histogram, q float64) *float64 {
	at, known := console.Quantile(h, q)
	if !known {
		return nil
	}
	return &at
}

// oneLine is a message that fits into a row.
func oneLine(text string) string {
	text = printable(strings.Join(strings.Fields(text), " "))
	const most = 240
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
