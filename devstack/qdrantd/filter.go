package qdrantd

import (
	"slices"

	pb "github.com/qdrant/go-client/qdrant"
)

// condition is one test of a point. Inside a nested filter the payload is one
// object of the point's payload, and the point is nil: there is no id or vector
// to test.
type condition interface {
	match(p *point, payload map[string]any) bool
}

// filter is a compiled filter. It belongs to one collection.
type filter struct {
	must, mustNot []condition
	should        alternatives
	minShould     []condition
	minCount      uint64
	hasMinShould  bool
}

// match tests a point.
func (f *filter) match(p *point) bool { return f.holds(p, p.payload) }

func (f *filter) holds(p *point, payload map[string]any) bool {
	for _, c := range f.must {
		if !c.match(p, payload) {
			return false
		}
	}
	for _, c := range f.mustNot {
		if c.match(p, payload) {
			return false
		}
	}
	return f.should.hold(p, payload) && f.enough(p, payload)
}

func (f *filter) enough(p *point, payload map[string]any) bool {
	if !f.hasMinShould {
		return true
	}
	var n uint64
	for _, c := range f.minShould {
		if n >= f.minCount {
			break
		}
		if c.match(p, payload) {
			n++
		}
	}
	return n >= f.minCount
}

// onlyIDs returns the only points that the filter can select, if it says so by
// a has_id among its musts.
func (f *filter) onlyIDs() (map[pointID]struct{}, bool) {
	for _, c := range f.must {
		if ids, ok := c.(hasID); ok {
			return ids, true
		}
	}
	return nil, false
}

// nestedFilter is a filter as a condition.
type nestedFilter struct{ *filter }

func (n nestedFilter) match(p *point, payload map[string]any) bool { return n.holds(p, payload) }

// alternatives are the shoulds. Those that can only hold for certain ids are
// found by id: a conditional upsert of n points brings n of them, and testing
// each for each point would take n² steps.
type alternatives struct {
	given bool
	byID  map[pointID][]condition
	rest  []condition
}

func newAlternatives(conditions []condition) alternatives {
	a := alternatives{given: len(conditions) > 0, byID: map[pointID][]condition{}}
	for _, c := range conditions {
		ids, ok := c.(hasID)
		if inner, isFilter := c.(nestedFilter); isFilter {
			ids, ok = inner.onlyIDs()
		}
		if !ok {
			a.rest = append(a.rest, c)
			continue
		}
		for id := range ids {
			a.byID[id] = append(a.byID[id], c)
		}
	}
	return a
}

func (a alternatives) hold(p *point, payload map[string]any) bool {
	if !a.given {
		return true
	}
	holds := func(c condition) bool { return c.match(p, payload) }
	if p != nil && slices.ContainsFunc(a.byID[p.id], holds) {
		return true
	}
	return slices.ContainsFunc(a.rest, holds)
}

// compile reads a filter; nil stays nil. The caller must hold the collection:
// a text index changes what a text condition means.
func (c *collection) compile(given *pb.Filter) (*filter, error) {
	if given == nil {
		return nil, nil
	}
	f := &filter{}
	var should []condition
	var err error
	for _, list := range []struct {
		from []*pb.Condition
		to   *[]condition
	}{
		{given.GetMust(), &f.must}, {given.GetMustNot(), &f.mustNot}, {given.GetShould(), &should},
		{given.GetMinShould().GetConditions(), &f.minShould},
	} {
		if *list.to, err = c.compileAll(list.from); err != nil {
			return nil, err
		}
	}
	f.should = newAlternatives(should)
	f.hasMinShould, f.minCount = given.GetMinShould() != nil, given.GetMinShould().GetMinCount()
	return f, nil
}

func (c *collection) compileAll(given []*pb.Condition) ([]condition, error) {
	var compiled []condition
	for _, g := range given {
		if g.GetConditionOneOf() == nil {
			continue // the real server drops empty conditions
		}
		one, err := c.compileCondition(g)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, one)
	}
	return compiled, nil
}

func (c *collection) compileCondition(given *pb.Condition) (condition, error) {
	switch g := given.GetConditionOneOf().(type) {
	case *pb.Condition_Field:
		return c.compileField(g.Field)
	case *pb.Condition_IsEmpty:
		p, err := parsePath(g.IsEmpty.GetKey())
		return isEmpty{p}, err
	case *pb.Condition_IsNull:
		p, err := parsePath(g.IsNull.GetKey())
		return isNull{p}, err
	case *pb.Condition_HasId:
		ids, err := readIDs(g.HasId.GetHasId())
		if err != nil {
			return nil, err
		}
		set := make(hasID, len(ids))
		for _, id := range ids {
			set[id] = struct{}{}
		}
		return set, nil
	case *pb.Condition_HasVector:
		return hasVector{position: c.cfg.vector(g.HasVector.GetHasVector())}, nil
	case *pb.Condition_Filter:
		if g.Filter == nil {
			return nestedFilter{&filter{}}, nil
		}
		f, err := c.compile(g.Filter)
		return nestedFilter{f}, err
	case *pb.Condition_Nested:
		return c.compileNested(g.Nested)
	default:
		return nil, unimplemented("this filter condition")
	}
}

func (c *collection) compileNested(given *pb.NestedCondition) (condition, error) {
	if given.GetFilter() == nil {
		return nil, invalid("Nested condition must have a filter")
	}
	p, err := parsePath(given.GetKey())
	if err != nil {
		return nil, err
	}
	f, err := c.compile(given.GetFilter())
	return nested{p.everyElementOf(), f}, err
}

type hasID map[pointID]struct{}

func (h hasID) match(p *point, _ map[string]any) bool {
	if p == nil {
		return false
	}
	_, ok := h[p.id]
	return ok
}

// hasVector has position -1 for a vector that the collection does not have.
type hasVector struct{ position int }

func (h hasVector) match(p *point, _ map[string]any) bool {
	return p != nil && h.position >= 0 && p.vectors[h.position] != nil
}

type isEmpty struct{ path path }

func (c isEmpty) match(_ *point, payload map[string]any) bool {
	return !slices.ContainsFunc(c.path.values(payload), func(v any) bool { return !emptyValue(v) })
}

type isNull struct{ path path }

func (c isNull) match(_ *point, payload map[string]any) bool {
	return slices.ContainsFunc(c.path.values(payload), func(v any) bool { return v == nil })
}

func emptyValue(v any) bool {
	list, isList := v.([]any)
	return v == nil || isList && len(list) == 0
}

// nested holds if one object of an array passes the whole filter.
type nested struct {
	path   path
	filter *filter
}

func (n nested) match(_ *point, payload map[string]any) bool {
	return slices.ContainsFunc(n.path.values(payload), func(v any) bool {
		object, ok := v.(map[string]any)
		return ok && n.filter.holds(nil, object)
	})
}
