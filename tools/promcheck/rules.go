package promcheck

import "fmt"

// Rules is a file of Prometheus's rules, as far as we write them.
type Rules struct {
	Groups []struct {
		Name     string
		Interval string
		Rules    []Rule
	}
}

// Rule is an alert or a recording rule.
type Rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

// All are the rules in their order.
func (r Rules) All() (all []Rule) {
	for _, g := range r.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// Add checks a rule and adds what it records. Rules go by their order: one sees
// what is recorded before it.
func (s Series) Add(r Rule) error {
	switch {
	case (r.Record == "") == (r.Alert == ""):
		return fmt.Errorf("a rule records or alerts: %+v", r)
	case r.Record != "":
		return s.Record(r.Record, r.Expr)
	default:
		_, err := s.Check(r.Expr)
		return err
	}
}
