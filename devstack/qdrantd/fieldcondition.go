package qdrantd

import (
	"slices"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// field is a condition on the values at a path. It holds if it holds for one of
// them; an array stands for each of its elements.
type field struct {
	path path
	// tests are alternatives, as in the real server, which expects one.
	tests       []func(any) bool
	valuesCount *pb.ValuesCount
	isEmpty     *bool
	isNull      *bool
}

func (c *collection) compileField(given *pb.FieldCondition) (condition, error) {
	p, err := parsePath(given.GetKey())
	if err != nil {
		return nil, err
	}
	if given.GetGeoBoundingBox() != nil || given.GetGeoRadius() != nil || given.GetGeoPolygon() != nil {
		return nil, unimplemented("geographic conditions")
	}
	f := field{path: p, valuesCount: given.GetValuesCount(), isEmpty: given.IsEmpty, isNull: given.IsNull}
	if given.GetMatch() != nil {
		test, err := c.compileMatch(p, given.GetMatch())
		if err != nil {
			return nil, err
		}
		f.tests = append(f.tests, test)
	}
	switch {
	case given.GetRange() != nil:
		f.tests = append(f.tests, inRange(given.GetRange()))
	case given.GetDatetimeRange() != nil:
		test, err := inTimeRange(given.GetDatetimeRange())
		if err != nil {
			return nil, err
		}
		f.tests = append(f.tests, test)
	}
	if len(f.tests) == 0 && f.valuesCount == nil && f.isEmpty == nil && f.isNull == nil {
		return nil, validation(rule{"match", "Validation error: At least one field condition must be specified [{}]"})
	}
	return f, nil
}

func (f field) match(_ *point, payload map[string]any) bool {
	if value, ok := f.path.single(payload); ok {
		return f.holds(value)
	}
	values := f.path.values(payload)
	if len(values) == 0 {
		return f.holdsForNothing()
	}
	return slices.ContainsFunc(values, f.holds)
}

// holdsForNothing is the answer for a point that has no value at the path. That
// is_null has it the wrong way round is how the real server does it.
func (f field) holdsForNothing() bool {
	switch {
	case f.isEmpty != nil:
		return *f.isEmpty
	case f.isNull != nil:
		return !*f.isNull
	default:
		return false
	}
}

func (f field) holds(value any) bool {
	switch {
	case f.valuesCount != nil:
		return countWithin(f.valuesCount, value)
	case f.isEmpty != nil:
		return emptyValue(value) == *f.isEmpty
	case f.isNull != nil:
		return hasNull(value) == *f.isNull
	}
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, f.passes)
	}
	return f.passes(value)
}

func (f field) passes(value any) bool {
	return slices.ContainsFunc(f.tests, func(test func(any) bool) bool { return test(value) })
}

func hasNull(value any) bool {
	if list, ok := value.([]any); ok {
		return slices.Contains(list, any(nil))
	}
	return value == nil
}

func countWithin(bounds *pb.ValuesCount, value any) bool {
	n := uint64(1)
	if list, ok := value.([]any); ok {
		n = uint64(len(list))
	} else if value == nil {
		n = 0
	}
	return (bounds.Lt == nil || n < *bounds.Lt) && (bounds.Gt == nil || n > *bounds.Gt) &&
		(bounds.Lte == nil || n <= *bounds.Lte) && (bounds.Gte == nil || n >= *bounds.Gte)
}

// inRange compares as float64, so integers beyond 2^53 lose their last digits
// on the way, as in the real server.
func inRange(bounds *pb.Range) func(any) bool {
	return func(value any) bool {
		var x float64
		switch v := value.(type) {
		case int64:
			x = float64(v)
		case float64:
			x = v
		default:
			return false
		}
		return (bounds.Lt == nil || x < *bounds.Lt) && (bounds.Gt == nil || x > *bounds.Gt) &&
			(bounds.Lte == nil || x <= *bounds.Lte) && (bounds.Gte == nil || x >= *bounds.Gte)
	}
}

func inTimeRange(given *pb.DatetimeRange) (func(any) bool, error) {
	var bounds [4]*time.Time
	for i, stamp := range []*timestamppb.Timestamp{given.GetLt(), given.GetGt(), given.GetLte(), given.GetGte()} {
		if stamp == nil {
			continue
		}
		if err := stamp.CheckValid(); err != nil {
			return nil, invalid("Malformed datetime: %v", err)
		}
		at := stamp.AsTime()
		bounds[i] = &at
	}
	lt, gt, lte, gte := bounds[0], bounds[1], bounds[2], bounds[3]
	return func(value any) bool {
		s, _ := value.(string)
		at, ok := parseTime(s)
		return ok && (lt == nil || at.Before(*lt)) && (gt == nil || at.After(*gt)) &&
			(lte == nil || !at.After(*lte)) && (gte == nil || !at.Before(*gte))
	}, nil
}

// timeLayouts are those that the real server reads; without a zone it is UTC.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z0700",
	"2006-01-02T15:04:05.999999999Z07", "2006-01-02 15:04:05.999999999Z07",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
