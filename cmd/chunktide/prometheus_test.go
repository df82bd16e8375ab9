package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"chunktide/devstack/realservers"
	"chunktide/tools/dashboard"
	"chunktide/tools/promcheck"
)

// scrapeable starts every program that exports metrics, has some work done, and
// returns where they export them.
func scrapeable(t *testing.T) (addresses []string) {
	t.Helper()
	settings := stack(t)
	worker, _ := background(t, withSettings(settings, "run")...)
	served := served(t, "", settings...)
	remote, _ := background(t, withSettings(slices.Concat(settings, []string{"embedder.encoder=remote", "embedder.remote.url=" + served}), "run")...)
	canary, _ := background(t, withSettings(settings, "canary")...)
	verify, _ := background(t, withSettings(settings, "index", "verify", "--watch", "1h", "--sample", "0")...)
	waitUntil(t, "both workers have partitions", func() bool {
		return families(t, worker)["chunktide_durable_offset"] != nil && families(t, remote)["chunktide_durable_offset"] != nil
	})
	return []string{worker, strings.TrimPrefix(served, "http://"), remote, canary, verify}
}

// promServer is a Prometheus to ask.
type promServer struct {
	t   *testing.T
	url string
}

// answer is what its API says.
type answer struct {
	Status, Error string
	Data          struct {
		Result []json.RawMessage
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
}

func (p promServer) get(path string, form url.Values) (a answer) {
	p.t.Helper()
	resp, err := http.Get(p.url + path + "?" + form.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		p.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return a
}

func (p promServer) query(expr string) (series int, err error) {
	a := p.get("/api/v1/query", url.Values{"query": {expr}})
	if a.Status != "success" {
		return 0, fmt.Errorf("%s: %s", expr, a.Error)
	}
	return len(a.Data.Result), nil
}

// expressions are those of the panels and of the rules.
func expressions(t *testing.T, rules []byte) (all []string) {
	t.Helper()
	var file promcheck.Rules
	if err := yaml.Unmarshal(rules, &file); err != nil {
		t.Fatal(err)
	}
	for _, r := range file.All() {
		all = append(all, r.Expr)
	}
	page, err := dashboard.Render()
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(page, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			all = append(all, promcheck.Interpolate(q.Expr))
		}
	}
	if len(all) < 100 {
		t.Fatalf("%d expressions", len(all))
	}
	return all
}

// A real Prometheus that scrapes the programs answers each expression of the
// panels and of the rules, and has the series that each of them asks for, by
// the very labels: bounds of histograms included.
func TestPrometheusAnswersEveryPanelAndEveryRule(t *testing.T) {
	realservers.RequirePromtool(t)
	addresses := scrapeable(t)
	dir := t.TempDir()
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	// No group waits for its turn of five minutes.
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(strings.ReplaceAll(string(rules), "    interval: 5m\n", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	p := promServer{t, realservers.RunPrometheus(t, dir, fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [rules.yml]
scrape_configs: [{job_name: chunktide, static_configs: [{targets: ["%s"], labels: {namespace: test}}]}]
`, strings.Join(addresses, `", "`)))}
	waitUntil(t, "all programs have been scraped and all rules evaluated", func() bool {
		scraped, err := p.query("count_over_time(up[5m]) >= 3 and up == 1")
		recorded, err2 := p.query("chunktide:freshness_late:ratio_rate30d and on () chunktide:backlog_events:sum and on () chunktide:reader_model:group")
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		return scraped == len(addresses) && recorded > 0
	})
	for _, group := range p.get("/api/v1/rules", nil).Data.Groups {
		for _, r := range group.Rules {
			if r.Health != "ok" {
				t.Errorf("rule %s: %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	for _, expr := range expressions(t, rules) {
		if _, err := p.query(expr); err != nil {
			t.Error(err)
			continue
		}
		selectors, err := promcheck.Selectors(expr)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range selectors {
			// Over a while: on a busy machine a scrape may be late.
			if n, err := p.query("last_over_time(" + s + "[10m])"); err != nil || n == 0 && !strings.HasPrefix(s, "ALERTS") {
				t.Errorf("%d series of %s, %v; in %s", n, s, err, expr)
			}
		}
	}
	// Controls: what is no bound is not there, and what matches many is told.
	if n, err := p.query(`chunktide_freshness_seconds_bucket{le="61"}`); n != 0 || err != nil {
		t.Errorf("a bound that does not exist: %d series, %v", n, err)
	}
	if _, err := p.query(`chunktide_cache_lookups_total / on (instance) chunktide_events_total`); err == nil {
		t.Error("many to many goes unseen")
	}
}
