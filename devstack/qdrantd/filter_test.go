package qdrantd

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func must(conditions ...*pb.Condition) *pb.Filter { return &pb.Filter{Must: conditions} }

func rangeOf(key string, r *pb.Range) *pb.Condition { return pb.NewRange(key, r) }

func stamp(day int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC))
}

func TestFilters(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client,
		with(1, map[string]any{"k": "red", "n": 1, "f": 1.5, "b": true, "at": "2026-01-10T00:00:00Z", "o": map[string]any{"x": 1}}, 1, 0),
		bare(2, map[string]any{"k": "green", "n": 2, "f": 2.5, "b": false, "at": "2026-01-20", "o": map[string]any{"x": 2}}),
		bare(3, map[string]any{"k": []any{"red", "blue"}, "n": []any{7, 9}, "empty": []any{}, "null": nil}),
		bare(4, map[string]any{"list": []any{map[string]any{"a": 1, "b": 1}, map[string]any{"a": 2, "b": 2}}, "n": "2", "null": []any{nil, 1}}),
		bare(5, map[string]any{"n": 2.0, "with space": "yes"}),
	)
	f := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		what   string
		filter *pb.Filter
		want   string
	}{
		{"nothing", &pb.Filter{}, "[1 2 3 4 5]"},
		{"keyword, array-any", must(pb.NewMatch("k", "red")), "[1 3]"},
		{"keyword by paths into the array", must(pb.NewMatch("k[]", "red")), "[3]"},
		{"keyword by index", must(pb.NewMatch("k[1]", "blue")), "[3]"},
		{"integer does not match floats or strings", must(pb.NewMatchInt("n", 2)), "[2]"},
		{"bool", must(pb.NewMatchBool("b", false)), "[2]"},
		{"any keyword", must(pb.NewMatchKeywords("k", "green", "blue")), "[2 3]"},
		{"any integer", must(pb.NewMatchInts("n", 1, 9)), "[1 3]"},
		{"except keyword", must(pb.NewMatchExceptKeywords("k", "red")), "[2 3]"},
		{"except integer takes other types, not what is missing", must(pb.NewMatchExceptInts("n", 1, 2)), "[3 4 5]"},
		{"except null", must(pb.NewMatchExceptInts("null", 1)), "[]"},
		{"substring", must(pb.NewMatchText("k", "re")), "[1 2 3]"},
		{"any word", must(pb.NewMatchTextAny("k", "lue een")), "[2 3]"},
		{"range", must(rangeOf("n", &pb.Range{Gt: f(1), Lte: f(7)})), "[2 3 5]"},
		{"range of floats", must(rangeOf("f", &pb.Range{Gte: f(1.5), Lt: f(2.5)})), "[1]"},
		{"range is per value", must(rangeOf("n", &pb.Range{Gt: f(7), Lt: f(9)})), "[]"},
		{"datetime", must(pb.NewDatetimeRange("at", &pb.DatetimeRange{Gt: stamp(10), Lte: stamp(20)})), "[2]"},
		{"nested key", must(pb.NewMatchInt("o.x", 2)), "[2]"},
		{"a path does not enter arrays by itself", must(pb.NewMatchInt("list.a", 1)), "[]"},
		{"it does when told", must(pb.NewMatchInt("list[].a", 1)), "[4]"},
		{"across elements", must(pb.NewMatchInt("list[].a", 1), pb.NewMatchInt("list[].b", 2)), "[4]"},
		{"within one element", must(pb.NewNestedFilter("list", must(pb.NewMatchInt("a", 1), pb.NewMatchInt("b", 2)))), "[]"},
		{"within one element, found", must(pb.NewNestedFilter("list[]", must(pb.NewMatchInt("a", 2), pb.NewMatchInt("b", 2)))), "[4]"},
		{"nested knows no ids", must(pb.NewNestedFilter("list", must(pb.NewHasID(pb.NewIDNum(4))))), "[]"},
		{"quoted key", must(pb.NewMatch(`"with space"`, "yes")), "[5]"},
		{"is_empty", must(pb.NewIsEmpty("empty")), "[1 2 3 4 5]"},
		{"is_empty of values", must(pb.NewIsEmpty("b")), "[3 4 5]"},
		{"is_null", must(pb.NewIsNull("null")), "[3]"},
		{"has_id", must(pb.NewHasID(pb.NewIDNum(2), pb.NewIDNum(77))), "[2]"},
		{"has_vector", must(pb.NewHasVector("text")), "[1]"},
		{"has_vector of none", must(pb.NewHasVector("none")), "[]"},
		{"values count", must(pb.NewValuesCount("k", &pb.ValuesCount{Gte: pb.PtrOf(uint64(2))})), "[3]"},
		{"should", &pb.Filter{Should: []*pb.Condition{pb.NewMatch("k", "green"), pb.NewHasID(pb.NewIDNum(5))}}, "[2 5]"},
		{"must not", &pb.Filter{MustNot: []*pb.Condition{pb.NewMatch("k", "red")}}, "[2 4 5]"},
		{"min should", &pb.Filter{MinShould: &pb.MinShould{MinCount: 2, Conditions: []*pb.Condition{
			pb.NewMatch("k", "red"), pb.NewMatchInt("n", 1), pb.NewMatchInt("n", 7)}}}, "[1 3]"},
		{"nested filters", &pb.Filter{
			Must:    []*pb.Condition{pb.NewFilterAsCondition(&pb.Filter{Should: []*pb.Condition{pb.NewMatchBool("b", true), pb.NewMatchBool("b", false)}})},
			MustNot: []*pb.Condition{pb.NewFilterAsCondition(must(pb.NewHasID(pb.NewIDNum(1)), pb.NewMatchInt("n", 1)))},
		}, "[2]"},
		{"an empty condition is no condition", must(&pb.Condition{}), "[1 2 3 4 5]"},
	} {
		points, err := client.Scroll(t.Context(), &pb.ScrollPoints{CollectionName: coll, Filter: c.filter})
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		ids := []uint64{}
		for _, p := range points {
			ids = append(ids, p.GetId().GetNum())
		}
		if got := fmt.Sprint(ids); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if n := count(t, client, c.filter); n != uint64(len(ids)) {
			t.Errorf("%s: count says %d", c.what, n)
		}
	}
}

func TestFiltersRefuse(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	for _, c := range []struct {
		condition *pb.Condition
		code      codes.Code
		message   string
	}{
		{pb.NewMatch("a..b", "x"), codes.InvalidArgument, "Invalid json path: 'a..b'"},
		{pb.NewHasID(pb.NewIDUUID("x")), codes.InvalidArgument, "Unable to parse UUID: x"},
		{&pb.Condition{ConditionOneOf: &pb.Condition_Field{Field: &pb.FieldCondition{Key: "a"}}}, codes.InvalidArgument, "match: Validation error: At least one field condition must be specified [{}]]"},
		{&pb.Condition{ConditionOneOf: &pb.Condition_Field{Field: &pb.FieldCondition{Key: "a", Match: &pb.Match{}}}}, codes.InvalidArgument, "Malformed Match condition"},
	} {
		_, err := client.Count(t.Context(), &pb.CountPoints{CollectionName: coll, Filter: must(c.condition)})
		wantError(t, err, c.code, c.message)
		// A write that nobody waits for says so too.
		_, err = client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Points: []*pb.PointStruct{bare(1, nil)}, UpdateFilter: must(c.condition)})
		wantError(t, err, c.code, c.message)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a[].b", "a[0]", `"x y".z`, "", ".", "a[", `"`, "a[]b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s)
		if err != nil {
			return
		}
		again, err := parsePath(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is %q, which is %v (%v)", s, p, again, err)
		}
		p.values(map[string]any{"a": []any{map[string]any{"b": int64(1)}}})
	})
}
