package promcheck

import (
	"slices"
	"strings"
	"testing"
)

func exported(t *testing.T) Series {
	t.Helper()
	s, err := Exported("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(s) < 50 {
		t.Fatalf("%d series: docs/METRICS.md was not understood", len(s))
	}
	return s
}

func TestWhatIsExportedPasses(t *testing.T) {
	s := exported(t)
	for expr, want := range map[string]string{
		`sum by (job, reason) (rate(chunktide_dead_letters_total[5m]))`:                                                     "job reason",
		`histogram_quantile(0.99, sum by (le) (rate(chunktide_freshness_seconds_bucket[5m])))`:                              "",
		`chunktide_cache_lookups_total{tier="redis", result!="hit"}`:                                                        "instance job namespace result tier",
		`up == 0 and on (instance) chunktide_build_info`:                                                                    "instance job namespace",
		`sum by (instance) (process_resident_memory_bytes) * on (instance) group_left (version) chunktide_build_info`:       "instance version",
		`1 - sum(rate(chunktide_freshness_seconds_bucket{le="60"}[1h])) / sum(rate(chunktide_freshness_seconds_count[1h]))`: "",
		`label_replace(chunktide_cache_up, "what", "cache", "", "")`:                                                        "instance job namespace what",
		`max_over_time(sum(chunktide_backlog_events)[1h:1m])`:                                                               "",
		`sum without (instance) (chunktide_consumer_lag)`:                                                                   "job namespace partition topic",
		`go_goroutines + 0`: "instance job namespace",
	} {
		got, err := s.Check(expr)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v; want %q", expr, got, err, want)
		}
	}
}

// Controls: what is not exported is found, wherever it stands.
func TestWhatIsNotExportedIsFound(t *testing.T) {
	s := exported(t)
	for expr, says := range map[string]string{
		`rate(chunktide_events_totals[5m])`:                                                 `no program exports "chunktide_events_totals"`,
		`chunktide_cache_up > 0 and on (job) chunktide_made_up`:                             `no program exports "chunktide_made_up"`,
		`chunktide_freshness_seconds`:                                                       "no program exports", // a histogram has no series of its name
		`sum(rate(chunktide_events_total{outcome="applied"}[5m]))`:                          `no label "outcome"`,
		`sum(rate(chunktide_events_total{result="apply"}[5m]))`:                             "passes 0 of the values",
		`sum(rate(chunktide_events_total{result!="rejcted"}[5m]))`:                          "passes 4 of the values",
		`sum by (kind) (rate(chunktide_events_total[5m]))`:                                  `no label "kind"`,
		`sum by (op) (rate(chunktide_events_total[5m])) / on (result) chunktide_cache_up`:   `no label "result"`,
		`histogram_quantile(0.5, sum by (job) (rate(chunktide_canary_seconds_bucket[5m])))`: `no label "le"`,
		`rate(chunktide_backlog_events[5m])`:                                                "rate means nothing",
		`deriv(chunktide_events_total[5m])`:                                                 "deriv means nothing",
		`sum by (job) (chunktide_backlog_events) / chunktide_cache_up`:                      "never match",
		`chunktide_consumer_lag and chunktide_cache_up`:                                     "never match",
		`sum(`: "parse error",
	} {
		if _, err := s.Check(expr); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", expr, err, says)
		}
	}
}

func TestARecordingRuleIsASeries(t *testing.T) {
	s := exported(t)
	if err := s.Record("chunktide:lag:sum", "sum by (job) (chunktide_consumer_lag)"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Check("chunktide:lag:sum > 0"); err != nil || !slices.Equal(got, []string{"job"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Check("chunktide:lag:sum{topic='docs'}"); err == nil {
		t.Error("it has no label topic any more")
	}
	if err := s.Record("chunktide:bad", "chunktide_made_up"); err == nil {
		t.Error("a rule on a metric that nobody exports passes")
	}
}

func TestVariablesOfGrafana(t *testing.T) {
	got := Interpolate(`sum(rate(a{job=~"$job",namespace=~"${namespace}"}[$__rate_interval])) * $price / 1e6 + increase(a[$__range])`)
	want := `sum(rate(a{job=~".*",namespace=~".*"}[5m])) * 1 / 1e6 + increase(a[5m])`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestSelectors(t *testing.T) {
	got, err := Selectors(`max(max_over_time(a{b="c"}[5m] offset 1h)) / sum(d @ end())`)
	if err != nil || !slices.Equal(got, []string{`a{b="c"}`, "d"}) {
		t.Errorf("%q, %v", got, err)
	}
}
