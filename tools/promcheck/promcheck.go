// Package promcheck holds PromQL against what the programs export: every metric
// that an expression names, every label by which it chooses, groups or joins,
// and every value of a closed set. A panel or an alert on a metric that was
// renamed is otherwise silent for good.
package promcheck

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/prometheus/promql/parser"

	"chunktide/tools/metricspage"
)

// target are the labels that Prometheus itself gives to each series.
var target = []string{"instance", "job", "namespace"}

// Series are what Prometheus can know, by name. The zero value knows nothing.
type Series map[string]series

type series struct {
	labels labels
	// counts says that it only grows, so that rate means something.
	counts bool
}

// labels are names, each with its values where they are a closed set.
type labels map[string][]string

// Exported are the series of docs/METRICS.md of the module in root, and those
// of the Go runtime, the process and the scrape.
func Exported(root string) (Series, error) {
	families, err := metricspage.Load(root)
	if err != nil {
		return nil, err
	}
	s := Series{}
	s.add("up", nil, false)
	s.add("ALERTS", labels{"alertname": nil, "alertstate": {"firing", "pending"}, "severity": nil}, false)
	for _, f := range families {
		own := labels{}
		for _, l := range f.Labels {
			own[l.Name] = l.Values
		}
		s.addFamily(f.Name, f.Type, own)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	runtime, err := reg.Gather()
	if err != nil {
		return nil, err
	}
	for _, f := range runtime {
		own := labels{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			own[l.GetName()] = nil
		}
		kind := strings.ToLower(f.GetType().String())
		s.addFamily(f.GetName(), kind, own)
		if kind == "summary" {
			s.add(f.GetName()+"_sum", own, true)
			s.add(f.GetName()+"_count", own, true)
		}
	}
	return s, nil
}

func (s Series) addFamily(name, kind string, own labels) {
	if kind != "histogram" {
		s.add(name, own, kind == "counter")
		return
	}
	s.add(name+"_sum", own, true)
	s.add(name+"_count", own, true)
	bucket := maps.Clone(own)
	bucket["le"] = nil
	s.add(name+"_bucket", bucket, true)
}

func (s Series) add(name string, own labels, counts bool) {
	all := labels{}
	maps.Copy(all, own)
	for _, l := range target {
		all[l] = nil
	}
	s[name] = series{all, counts}
}

// Record adds what a recording rule makes.
func (s Series) Record(name, expr string) error {
	out, err := s.check(expr)
	if err == nil {
		s[name] = series{labels: out}
	}
	return err
}

// Check returns the names of the labels that the result of expr may have, or
// what is wrong with it.
func (s Series) Check(expr string) ([]string, error) {
	out, err := s.check(expr)
	return slices.Sorted(maps.Keys(out)), err
}

// Selectors are the series that expr asks for, each as an expression.
func Selectors(expr string) ([]string, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	var out []string
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			plain := parser.VectorSelector{Name: v.Name, LabelMatchers: v.LabelMatchers}
			out = append(out, plain.String())
		}
		return nil
	})
	return out, nil
}

func (s Series) check(expr string) (labels, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	c := checker{series: s}
	out := c.walk(e)
	return out, errors.Join(c.problems...)
}

type checker struct {
	series   Series
	problems []error
}

func (c *checker) wrong(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// walk checks e and returns the labels of its result.
func (c *checker) walk(e parser.Expr) labels {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return c.selector(e)
	case *parser.MatrixSelector:
		return c.walk(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.walk(e.Expr)
	case *parser.ParenExpr:
		return c.walk(e.Expr)
	case *parser.StepInvariantExpr:
		return c.walk(e.Expr)
	case *parser.UnaryExpr:
		return c.walk(e.Expr)
	case *parser.AggregateExpr:
		return c.aggregate(e)
	case *parser.BinaryExpr:
		return c.binary(e)
	case *parser.Call:
		return c.call(e)
	default: // numbers and strings
		return labels{}
	}
}

func (c *checker) selector(v *parser.VectorSelector) labels {
	s, known := c.series[v.Name]
	if !known {
		c.wrong("%s: no program exports %q", v, v.Name)
		return labels{}
	}
	for _, m := range v.LabelMatchers {
		if m.Name == "__name__" {
			continue
		}
		values, has := s.labels[m.Name]
		// A matcher that all values pass, or none, is misspelt.
		passed := slices.Collect(func(yield func(string) bool) {
			for _, value := range values {
				if m.Matches(value) && !yield(value) {
					return
				}
			}
		})
		switch {
		case !has:
			c.wrong("%s: %s has no label %q", v, v.Name, m.Name)
		case len(values) > 0 && (len(passed) == 0 || len(passed) == len(values)):
			c.wrong("%s: %s passes %d of the values %q", v, m, len(passed), values)
		}
	}
	return s.labels
}

// need says which of names are not among the labels of what.
func (c *checker) need(what parser.Node, names []string, of labels) {
	for _, name := range names {
		if _, has := of[name]; !has {
			c.wrong("%s: it has no label %q", what, name)
		}
	}
}

func only(names []string, of labels) labels {
	out := labels{}
	for _, name := range names {
		out[name] = of[name]
	}
	return out
}

func (c *checker) aggregate(a *parser.AggregateExpr) labels {
	of := c.walk(a.Expr)
	c.need(a, a.Grouping, of)
	if !a.Without {
		return only(a.Grouping, of)
	}
	out := maps.Clone(of)
	for _, name := range a.Grouping {
		delete(out, name)
	}
	return out
}

func (c *checker) binary(b *parser.BinaryExpr) labels {
	left, right := c.walk(b.LHS), c.walk(b.RHS)
	if b.VectorMatching == nil || b.LHS.Type() == parser.ValueTypeScalar || b.RHS.Type() == parser.ValueTypeScalar {
		out := maps.Clone(left)
		maps.Copy(out, right)
		return out
	}
	m := b.VectorMatching
	if m.On {
		c.need(b.LHS, m.MatchingLabels, left)
		c.need(b.RHS, m.MatchingLabels, right)
	} else if b.Op != parser.LOR && m.Card != parser.CardManyToOne && m.Card != parser.CardOneToMany && len(m.MatchingLabels) == 0 {
		// A label on one side only, and nothing matches, ever.
		if l, r := slices.Sorted(maps.Keys(left)), slices.Sorted(maps.Keys(right)); !slices.Equal(l, r) {
			c.wrong("%s: the sides have the labels %q and %q, which never match", b, l, r)
		}
	}
	out := maps.Clone(left)
	switch {
	case b.Op == parser.LOR:
		maps.Copy(out, right)
	case m.Card == parser.CardOneToMany:
		out = maps.Clone(right)
	case m.On && m.Card == parser.CardOneToOne:
		out = only(m.MatchingLabels, left)
	}
	for _, name := range m.Include {
		out[name] = nil
	}
	return out
}

// Functions that mean something for what only grows, or for what does not.
var (
	forCounters = []string{"rate", "irate", "increase", "resets"}
	forGauges   = []string{"deriv", "delta", "idelta", "predict_linear"}
)

func (c *checker) call(f *parser.Call) labels {
	out := labels{}
	for _, arg := range f.Args {
		maps.Copy(out, c.walk(arg))
		m, ok := arg.(*parser.MatrixSelector)
		if !ok {
			continue
		}
		s := c.series[m.VectorSelector.(*parser.VectorSelector).Name]
		if slices.Contains(forCounters, f.Func.Name) && !s.counts || slices.Contains(forGauges, f.Func.Name) && s.counts {
			c.wrong("%s: %s means nothing for this type of metric", f, f.Func.Name)
		}
	}
	switch f.Func.Name {
	case "histogram_quantile":
		c.need(f, []string{"le"}, out)
		delete(out, "le")
	case "label_replace":
		out[strings.Trim(f.Args[1].String(), `"`)] = nil
	}
	return out
}

// Variables of Grafana have values here with which an expression is PromQL: times
// are times, and the rest is 1, or text within the quotes of a matcher.
var (
	times = regexp.MustCompile(`\$__(rate_interval|interval|range)\b`)
	other = regexp.MustCompile(`\$(\w+|\{\w+\})`)
)

// Interpolate puts values in place of Grafana's variables.
func Interpolate(expr string) string {
	return other.ReplaceAllStringFunc(times.ReplaceAllString(expr, "5m"), func(v string) string {
		switch strings.Trim(v, "${}") {
		case "namespace", "job":
			return ".*"
		default:
			return "1"
		}
	})
}
