// Package prometheus tests the rules and the alerts.
package prometheus

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"

	"chunktide/devstack/realservers"
	"chunktide/tools/promcheck"
)

func parse[T any](t *testing.T, name string) (out T) {
	t.Helper()
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(file))
	d.KnownFields(true)
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func alerts(t *testing.T) (out []promcheck.Rule) {
	t.Helper()
	for _, r := range parse[promcheck.Rules](t, "rules.yml").All() {
		if r.Alert != "" {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		t.Fatal("there is no alert")
	}
	return out
}

func TestTheRulesNameWhatIsExported(t *testing.T) {
	series, err := promcheck.Exported("../..")
	if err != nil {
		t.Fatal(err)
	}
	rules := parse[promcheck.Rules](t, "rules.yml").All()
	for _, r := range rules {
		if err := series.Add(r); err != nil {
			t.Errorf("%s%s: %v", r.Alert, r.Record, err)
		}
	}
	// Control: the same rules, each metric by another name.
	for _, r := range rules {
		r.Expr = strings.NewReplacer("chunktide_", "chunktide_not_", "chunktide:", "chunktide:not_").Replace(r.Expr)
		if _, err := series.Check(r.Expr); err == nil {
			t.Errorf("%s%s: what it asks for does not exist, and that goes unseen: %s", r.Alert, r.Record, r.Expr)
		}
	}
}

const runbooks = "https://chunktide.example/docs/OPERATIONS.md#"

// heading and anchor are how GitHub links to a section.
var heading = regexp.MustCompile(`(?m)^#{2,4} (.*)$`)

func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}

// Each alert says how grave it is, what it saw, and what to do.
func TestEveryAlertHasARunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Runbooks\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var books []string
	texts := strings.Split(section, "\n### ")[1:]
	for _, text := range texts {
		name, _, _ := strings.Cut(text, "\n")
		books = append(books, anchor(name))
	}
	read := map[string]bool{}
	for _, a := range alerts(t) {
		book, ok := strings.CutPrefix(a.Annotations["runbook_url"], runbooks)
		i := slices.Index(books, book)
		switch {
		case !strings.HasPrefix(a.Alert, "Chunktide"):
			t.Errorf("%s: among others' alerts nobody knows whose it is", a.Alert)
		case a.Labels["severity"] != "critical" && a.Labels["severity"] != "warning":
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		case a.Annotations["summary"] == "" || !strings.Contains(a.Annotations["description"], "{{") && a.Alert != "ChunktideNoWorkers":
			t.Errorf("%s: it says no number: %q", a.Alert, a.Annotations)
		case !ok || i < 0:
			t.Errorf("%s: no runbook of OPERATIONS.md has the anchor %q; there are %q", a.Alert, book, books)
		case !strings.Contains(texts[i], a.Alert):
			t.Errorf("%s: the runbook %s does not name it", a.Alert, book)
		}
		read[book] = true
	}
	for i, book := range books {
		if !read[book] && book != "restore-from-a-snapshot-then-replay" {
			t.Errorf("no alert leads to the runbook %s", book)
		}
		for _, part := range []string{"**Why", "**Do:**", "**Over when**"} {
			if read[book] && !strings.Contains(texts[i], part) {
				t.Errorf("the runbook %s has no %s", book, part)
			}
		}
	}
	// Links between sections lead somewhere.
	var all []string
	for _, h := range heading.FindAllStringSubmatch(string(page), -1) {
		all = append(all, anchor(h[1]))
	}
	for _, link := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(section, -1) {
		if !slices.Contains(all, link[1]) {
			t.Errorf("a runbook links to #%s, which is not there", link[1])
		}
	}
}

// tests is a file of promtool's, as far as we look into it.
type tests struct {
	Tests []struct {
		Alerts []struct {
			Name     string      `yaml:"alertname"`
			Expected []yaml.Node `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// Each alert is tested, and so is that it does not fire without reason.
func TestEveryAlertIsTested(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, name := range []string{"rules_test.yml", "days_test.yml"} {
		var file tests
		data, err := os.ReadFile(name)
		if err == nil {
			err = yaml.Unmarshal(data, &file)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range file.Tests {
			for _, a := range group.Alerts {
				fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
				silent[a.Name] = silent[a.Name] || len(a.Expected) == 0
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s: a test in which it fires: %v, one in which it does not: %v", a.Alert, fires[a.Alert], silent[a.Alert])
		}
	}
}

// promtool runs it on the files of dir.
func promtool(t *testing.T, dir string, args ...string) (said string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), realservers.RequirePromtool(t), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestPromtoolTakesTheRules(t *testing.T) {
	if said, ok := promtool(t, ".", "check", "config", "prometheus.yml"); !ok {
		t.Error(said)
	}
	if said, ok := promtool(t, ".", "test", "rules", "rules_test.yml", "days_test.yml"); !ok {
		t.Error(said)
	}
}

// Controls: of rules that are a little wrong promtool says which.
func TestPromtoolTellsWrongRules(t *testing.T) {
	rules, err := os.ReadFile("rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	wrong := string(rules)
	spoilt := map[string][2]string{
		"ChunktideBacklogGrows":       {"deriv(chunktide:backlog_events:sum[15m]) > 0", "deriv(chunktide:backlog_events:sum[15m]) < 0"},
		"ChunktideFreshnessBurnsFast": {`le=~"60(\\.0)?"`, `le="60"`},
		"ChunktideIndexDiverged":      {`kind!="wrong_model"`, `kind!=""`},
		"ChunktideTwoModels":          {"for: 30m", "for: 0m"},
	}
	for alert, change := range spoilt {
		right := wrong
		if wrong = strings.ReplaceAll(wrong, change[0], change[1]); wrong == right {
			t.Fatalf("%s: the rules do not have %s", alert, change[0])
		}
	}
	dir := t.TempDir()
	for name, data := range map[string]string{"rules.yml": wrong, "rules_test.yml": string(cases)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said, ok := promtool(t, dir, "test", "rules", "rules_test.yml")
	for alert := range spoilt {
		if ok || !strings.Contains(said, "alertname: "+alert+",") {
			t.Errorf("%s is wrong and passes its tests: %s", alert, said)
		}
	}
}
