// Package dashboard makes deploy/grafana/chunktide.json of the rows and panels
// that are written down in this package: what a person reads and edits is a
// line for each query, and where the panels lie follows from their order.
//
// The result is plain JSON for Grafana 10 and later, with Grafana's own panels
// only.
package dashboard

import (
	"bytes"
	"encoding/json"
	"strings"
)

// File is the dashboard, below the folder of go.mod.
const File = "deploy/grafana/chunktide.json"

// A row of panels, each of the height of the row's tallest.
type row struct {
	title  string
	panels []panel
}

type panel struct {
	title string
	// says is for whoever does not know what the panel is for: what is well,
	// what is not, and where to go on.
	says string
	kind string // of Grafana's panels; empty: timeseries
	unit string // of Grafana's units
	// width of 24.
	width   int
	queries []query
	// above colours values: from so much on they are worth a look, or bad. Both
	// zero: no values are; turned: what is below is bad.
	worth, bad float64
	turned     bool
	stacked    bool
	max        float64
}

type query struct {
	// expr has {@} and {@,…} where the variables choose.
	expr, legend string
}

// chosen are the matchers of the dashboard's variables.
var chosen = strings.NewReplacer("{@}", `{namespace=~"$namespace",job=~"$job"}`, "{@,", `{namespace=~"$namespace",job=~"$job",`)

const (
	columns    = 24
	statHeight = 4
	height     = 8
)

// Render makes the dashboard.
func Render() ([]byte, error) {
	d := dashboardJSON{
		UID: "chunktide", Title: "Chunktide", Tags: []string{"chunktide"}, SchemaVersion: 39, Version: 1, Editable: true, GraphTooltip: 1,
		Refresh: "30s", Timezone: "browser", Time: timeJSON{"now-6h", "now"}, Templating: list[variableJSON]{variables()}, Annotations: list[any]{[]any{}},
		Description: "Whether a Qdrant index is level with its topic, and where it is not: docs/OPERATIONS.md. Made by tools/dashboard.",
	}
	y := 0
	for _, r := range rows() {
		d.add(panelJSON{Type: "row", Title: r.title, GridPos: gridJSON{1, columns, 0, y}, Panels: &[]panelJSON{}})
		y++
		x, tallest := 0, 0
		for _, p := range r.panels {
			if x+p.width > columns {
				x, y, tallest = 0, y+tallest, 0
			}
			h := height
			if p.kind == "stat" {
				h = statHeight
			}
			d.add(p.render(gridJSON{h, p.width, x, y}))
			x, tallest = x+p.width, max(tallest, h)
		}
		y += tallest
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(d)
	return b.Bytes(), err
}

func (d *dashboardJSON) add(p panelJSON) {
	p.ID = len(d.Panels) + 1
	d.Panels = append(d.Panels, p)
}

var source = &sourceJSON{"prometheus", "${datasource}"}

func variables() []variableJSON {
	all := map[string]any{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}
	choice := func(name, label, query string) variableJSON {
		return variableJSON{
			Name: name, Label: label, Type: "query", Datasource: source, Query: query, Refresh: 2, Sort: 1,
			IncludeAll: true, Multi: true, AllValue: ".*", Current: all,
		}
	}
	return []variableJSON{
		{Name: "datasource", Label: "Prometheus", Type: "datasource", Query: "prometheus", Refresh: 1},
		choice("namespace", "Namespace", "label_values(chunktide_build_info, namespace)"),
		choice("job", "Job", `label_values(chunktide_build_info{namespace=~"$namespace"}, job)`),
		{
			Name: "price", Label: "Price of a million tokens", Type: "textbox", Query: "0.02",
			Current: map[string]any{"selected": true, "text": "0.02", "value": "0.02"},
		},
	}
}

func (p panel) render(at gridJSON) panelJSON {
	out := panelJSON{Type: p.kind, Title: p.title, Description: p.says, Datasource: source, GridPos: at}
	if out.Type == "" {
		out.Type = "timeseries"
	}
	now := out.Type == "stat" || out.Type == "table"
	for i, q := range p.queries {
		t := targetJSON{Datasource: source, Expr: chosen.Replace(q.expr), LegendFormat: q.legend, RefID: string(rune('A' + i)), Range: !now, Instant: now}
		if out.Type == "table" {
			t.Format = "table"
		}
		out.Targets = append(out.Targets, t)
	}
	defaults := defaultsJSON{Unit: p.unit, Thresholds: p.thresholds(), Color: map[string]any{"mode": "palette-classic"}}
	if p.max != 0 {
		defaults.Max = &p.max
	}
	switch out.Type {
	case "timeseries":
		defaults.Custom = p.curve()
		out.Options = map[string]any{
			"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		}
		zero := 0.0
		defaults.Min = &zero
	case "stat":
		defaults.Color = map[string]any{"mode": "thresholds"}
		out.Options = map[string]any{
			"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": true,
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case "state-timeline":
		defaults.Custom = map[string]any{"fillOpacity": 70, "lineWidth": 0}
		defaults.Color = map[string]any{"mode": "thresholds"}
		out.Options = map[string]any{
			"showValue": "never", "rowHeight": 0.9, "mergeValues": true, "alignValue": "left",
			"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []string{}},
			"tooltip": map[string]any{"mode": "single", "sort": "none"},
		}
	case "table":
		out.Options = map[string]any{"showHeader": true}
	}
	out.FieldConfig = &fieldJSON{Defaults: defaults, Overrides: []any{}}
	return out
}

func (p panel) curve() map[string]any {
	c := map[string]any{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false,
		"stacking": map[string]any{"mode": "none", "group": "A"}, "thresholdsStyle": map[string]any{"mode": "off"},
	}
	if p.stacked {
		c["stacking"], c["fillOpacity"] = map[string]any{"mode": "normal", "group": "A"}, 60
	}
	if p.worth != 0 || p.bad != 0 {
		c["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
	return c
}

func (p panel) thresholds() thresholdsJSON {
	t := thresholdsJSON{Mode: "absolute"}
	step := func(colour string, from float64) { t.Steps = append(t.Steps, stepJSON{colour, &from}) }
	switch {
	case p.worth == 0 && p.bad == 0:
		t.Steps = []stepJSON{{"green", nil}}
	case p.turned:
		t.Steps = []stepJSON{{"red", nil}}
		step("orange", p.bad)
		step("green", p.worth)
	default:
		t.Steps = []stepJSON{{"green", nil}}
		if p.worth != p.bad {
			step("orange", p.worth)
		}
		step("red", p.bad)
	}
	return t
}
