// Package grafana tests the dashboard.
package grafana

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"chunktide/tools/dashboard"
	"chunktide/tools/promcheck"
)

// `make docs` sets it.
var update = flag.Bool("update", false, "write "+dashboard.File)

func TestTheDashboardIsCurrent(t *testing.T) {
	want, err := dashboard.Render()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("../..", dashboard.File)
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
		t.Errorf("%s is not what tools/dashboard makes: run make docs", dashboard.File)
	}
}

// The dashboard as Grafana reads it, as far as these tests do.
type (
	board struct {
		UID, Title    string
		SchemaVersion int
		Panels        []*panel
		Templating    struct{ List []*variable }
	}
	panel struct {
		ID                       int
		Type, Title, Description string
		Datasource               *source
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []*target
		FieldConfig              struct{ Defaults struct{ Unit string } }
	}
	source struct{ Type, UID string }
	target struct {
		Expr, LegendFormat, RefID string
		Datasource                *source
	}
	variable struct{ Name, Type, Query string }
)

func read(t *testing.T) board {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../..", dashboard.File))
	var b board
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil || len(b.Panels) < 40 {
		t.Fatalf("%d panels, %v", len(b.Panels), err)
	}
	return b
}

var chosenBy = regexp.MustCompile(`\$\{?(\w+)`)

// wrong says what is wrong with a dashboard.
func wrong(b board, series promcheck.Series) (found []string) {
	say := func(p *panel, what string) { found = append(found, p.Title+": "+what) }
	var variables []string
	for _, v := range b.Templating.List {
		variables = append(variables, v.Name)
	}
	ids, titles, row := map[int]bool{}, map[string]bool{}, ""
	taken := map[[2]int]bool{}
	for _, p := range b.Panels {
		if ids[p.ID] || p.ID == 0 {
			say(p, "its id is another panel's")
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if taken[[2]int{x, y}] || x >= 24 || x < 0 {
					say(p, "it lies on another panel, or beside the page")
				}
				taken[[2]int{x, y}] = true
			}
		}
		if p.Type == "row" {
			row = p.Title
			continue
		}
		if titles[row+p.Title+p.Type] {
			say(p, "its row has another of that title")
		}
		titles[row+p.Title+p.Type] = true
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") {
			say(p, "it does not say what it is for")
		}
		if p.FieldConfig.Defaults.Unit == "" && p.Type != "table" && p.Type != "state-timeline" {
			say(p, "its values have no unit")
		}
		if len(p.Targets) == 0 || !isVariable(p.Datasource) {
			say(p, "it has no query, or a source of its own")
		}
		for _, q := range p.Targets {
			found = append(found, wrongQuery(p, q, variables, series)...)
		}
	}
	return found
}

func isVariable(s *source) bool { return s != nil && *s == source{"prometheus", "${datasource}"} }

var (
	inLegend = regexp.MustCompile(`\{\{(\w+)\}\}`)
	// Every series is chosen by the variables.
	chosen = `{namespace=~"$namespace",job=~"$job"`
	braces = regexp.MustCompile(`\b(chunktide|process|go)_\w+|\bchunktide:[\w:]+|\bup\b|\bALERTS\b`)
)

func wrongQuery(p *panel, q *target, variables []string, series promcheck.Series) (found []string) {
	say := func(what string) { found = append(found, p.Title+": "+what+": "+q.Expr) }
	if !isVariable(q.Datasource) {
		say("it asks a source of its own")
	}
	labels, err := series.Check(promcheck.Interpolate(q.Expr))
	if err != nil {
		say(err.Error())
	}
	for _, at := range braces.FindAllStringIndex(q.Expr, -1) {
		if !strings.HasPrefix(q.Expr[at[1]:], chosen) {
			say("a metric is not chosen by namespace and job")
		}
	}
	for _, v := range chosenBy.FindAllStringSubmatch(q.Expr, -1) {
		if name := v[1]; !slices.Contains(variables, name) && !strings.HasPrefix(name, "__") {
			say("there is no variable " + name)
		}
	}
	for _, l := range inLegend.FindAllStringSubmatch(q.LegendFormat, -1) {
		if !slices.Contains(labels, l[1]) {
			say("its legend has " + l[1] + ", and its result only " + strings.Join(labels, ", "))
		}
	}
	return found
}

func exported(t *testing.T) promcheck.Series {
	t.Helper()
	series, err := promcheck.Exported("../..")
	if err != nil {
		t.Fatal(err)
	}
	var rules promcheck.Rules
	data, err := os.ReadFile("../prometheus/rules.yml")
	if err == nil {
		err = yaml.Unmarshal(data, &rules)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.All() {
		if err := series.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return series
}

func TestTheDashboardShowsWhatIsExported(t *testing.T) {
	b := read(t)
	for _, what := range wrong(b, exported(t)) {
		t.Error(what)
	}
	if b.UID != "chunktide" || b.SchemaVersion < 38 {
		t.Errorf("uid %q, schema %d", b.UID, b.SchemaVersion)
	}
	var names []string
	for _, v := range b.Templating.List {
		names = append(names, v.Name)
	}
	if strings.Join(names, " ") != "datasource namespace job price" || b.Templating.List[0].Type != "datasource" {
		t.Errorf("variables %q", names)
	}
}

// Controls: each thing that may be wrong is seen.
func TestWhatIsWrongWithADashboardIsSeen(t *testing.T) {
	series := exported(t)
	panelOf := func(b board) *panel {
		return b.Panels[slices.IndexFunc(b.Panels, func(p *panel) bool { return p.Title == "Commits" })]
	}
	for says, spoil := range map[string]func(*panel){
		"id is another":       func(p *panel) { p.ID = 1 },
		"lies on another":     func(p *panel) { p.GridPos.X++ },
		"beside the page":     func(p *panel) { p.GridPos.X += 24 },
		"what it is for":      func(p *panel) { p.Description = "" },
		"no unit":             func(p *panel) { p.FieldConfig.Defaults.Unit = "" },
		"source of its own":   func(p *panel) { p.Targets[0].Datasource.UID = "mine" },
		"no program exports":  func(p *panel) { p.Targets[0].Expr = strings.ReplaceAll(p.Targets[0].Expr, "_commits", "_comits") },
		`no label "kind"`:     func(p *panel) { p.Targets[0].Expr = strings.ReplaceAll(p.Targets[0].Expr, "(result)", "(kind)") },
		"not chosen":          func(p *panel) { p.Targets[0].Expr = "sum by (result) (rate(chunktide_commits_total[5m]))" },
		"no variable cluster": func(p *panel) { p.Targets[0].Expr += " + $cluster" },
		"legend has instance": func(p *panel) { p.Targets[0].LegendFormat = "{{instance}}" },
		"parse error":         func(p *panel) { p.Targets[0].Expr += ")" },
	} {
		b := read(t)
		spoil(panelOf(b))
		if found := wrong(b, series); !strings.Contains(strings.Join(found, "\n"), says) {
			t.Errorf("%s is not seen: %q", says, found)
		}
	}
}

// The example of provisioning names what is there.
func TestProvisioning(t *testing.T) {
	for _, name := range []string{"datasources/prometheus.yaml", "dashboards/chunktide.yaml"} {
		data, err := os.ReadFile("provisioning/" + name)
		var file struct {
			APIVersion             int `yaml:"apiVersion"`
			Datasources, Providers []map[string]any
		}
		if err == nil {
			err = yaml.Unmarshal(data, &file)
		}
		if err != nil || file.APIVersion != 1 || len(file.Datasources)+len(file.Providers) != 1 {
			t.Errorf("%s: %+v, %v", name, file, err)
		}
	}
}
