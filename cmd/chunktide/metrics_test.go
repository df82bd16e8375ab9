package main

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"chunktide/tools/metricspage"
)

// `make docs` sets it.
var update = flag.Bool("update", false, "write docs/METRICS.md")

// families are what a program exports.
func families(t *testing.T, address string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, address)))
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "chunktide_") })
	return all
}

// exported starts every program that exports metrics, and reads them.
func exported(t *testing.T) (programs []string, of map[string]map[string]*dto.MetricFamily) {
	t.Helper()
	settings := stack(t)
	of = map[string]map[string]*dto.MetricFamily{}
	add := func(program, address string) {
		programs = append(programs, program)
		of[program] = families(t, address)
	}
	worker, stop := background(t, withSettings(settings, "run")...)
	waitUntil(t, "the worker has its partitions", func() bool { return families(t, worker)["chunktide_durable_offset"] != nil })
	add("run", worker)
	stop()
	served := served(t, "", settings...)
	add("serve", strings.TrimPrefix(served, "http://"))
	remote := slices.Concat(settings, []string{"embedder.encoder=remote", "embedder.remote.url=" + served})
	worker, _ = background(t, withSettings(remote, "run")...)
	waitUntil(t, "the worker has its partitions", func() bool { return families(t, worker)["chunktide_durable_offset"] != nil })
	add("run with embedder.remote", worker)
	maps.DeleteFunc(of["run with embedder.remote"], func(name string, _ *dto.MetricFamily) bool { return of["run"][name] != nil })
	verify, _ := background(t, withSettings(settings, "index", "verify", "--watch", "1h", "--sample", "0")...)
	add("index verify --watch", verify)
	canary, _ := background(t, withSettings(settings, "canary")...)
	add("canary", canary)
	return programs, of
}

// docs/METRICS.md says what the programs export.
func TestTheMetricsPageIsCurrent(t *testing.T) {
	programs, of := exported(t)
	byName := map[string]*metricspage.Family{}
	for _, program := range programs {
		for name, f := range of[program] {
			entry := byName[name]
			if entry == nil {
				entry = &metricspage.Family{Name: name, Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp()}
				byName[name] = entry
			}
			entry.Programs = append(entry.Programs, program)
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					entry.Labels = withLabel(entry.Labels, l.GetName(), l.GetValue())
				}
			}
			if !strings.HasSuffix(entry.Help, ".") {
				t.Errorf("%s: its help is no sentence: %q", name, entry.Help)
			}
		}
	}
	var list []metricspage.Family
	for _, f := range byName {
		list = append(list, *f)
	}
	want := metricspage.Render(list)
	path := filepath.Join("../..", metricspage.File)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what the programs export now: run make docs", metricspage.File)
	}
}

// open are the labels whose values are no closed set.
var open = []string{"topic", "partition", "version", "model_version"}

func withLabel(labels []metricspage.Label, name, value string) []metricspage.Label {
	i := slices.IndexFunc(labels, func(l metricspage.Label) bool { return l.Name == name })
	if i < 0 {
		i = len(labels)
		labels = append(labels, metricspage.Label{Name: name})
	}
	if l := &labels[i]; !slices.Contains(open, name) && !slices.Contains(l.Values, value) {
		l.Values = append(l.Values, value)
		slices.Sort(l.Values)
	}
	return labels
}

// series are how many series of each metric with labels a worker has before
// it has done anything.
var series = map[string]int{
	"chunktide_batches_total": 6, "chunktide_build_info": 1, "chunktide_cache_lookups_total": 8, "chunktide_cache_stores_total": 4,
	"chunktide_commits_total": 4, "chunktide_consumer_lag": 2, "chunktide_durable_offset": 2, "chunktide_events_total": 12, "chunktide_model_calls_total": 2,
	"chunktide_rebalances_total": 3, "chunktide_sink_request_seconds": 6, "chunktide_sink_requests_total": 12,
	"chunktide_stage_duration_seconds": 3, "chunktide_tokens_encoded_total": 2,
	"chunktide_dead_letters_total": 0, // as many as there are reasons
}

// A worker that has just begun has every series of a closed set of labels, and
// nothing is counted that has not been.
func TestEverySeriesBeginsAtZero(t *testing.T) {
	address, _ := background(t, withSettings(stack(t), "run")...)
	waitUntil(t, "the worker has its partitions", func() bool { return len(families(t, address)["chunktide_durable_offset"].GetMetric()) == 2 })
	// What connecting and joining the group count, and what is a setting.
	begun := []string{
		"chunktide_build_info", "chunktide_cache_up", "chunktide_rebalances_total", "chunktide_sink_request_seconds",
		"chunktide_sink_requests_total", "chunktide_backlog_look_failures_total",
	}
	for name, f := range families(t, address) {
		labelled := len(f.GetMetric()[0].GetLabel()) > 0
		want, listed := series[name]
		if n := len(f.GetMetric()); labelled && (!listed || want > 0 && n != want) || !labelled && listed {
			t.Errorf("%s has %d series, want %d: say here how many there are, and make them where it is registered", name, n, want)
		}
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if value != 0 && !slices.Contains(begun, name) {
				t.Errorf("%s%v is %v in a worker that has done nothing", name, m.GetLabel(), value)
			}
		}
	}
}
