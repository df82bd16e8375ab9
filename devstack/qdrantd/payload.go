package qdrantd

import (
	"maps"
	"math"
	"slices"

	pb "github.com/qdrant/go-client/qdrant"
)

// A payload is JSON in Go's types: nil, bool, int64, float64, string, []any and
// map[string]any. Like points, payloads are immutable once they are stored;
// the functions below share what they do not change.

// readPayload converts what came; an empty payload is nil. A stored point with a
// nil payload never had one, or lost all of it at once; one with an empty map
// lost it key by key. Clients cannot tell them apart, but the next merge can.
func readPayload(fields map[string]*pb.Value) (map[string]any, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	payload := make(map[string]any, len(fields))
	for name, value := range fields {
		v, err := readValue(value)
		if err != nil {
			return nil, err
		}
		payload[name] = v
	}
	return payload, nil
}

func readValue(value *pb.Value) (any, error) {
	switch v := value.GetKind().(type) {
	case *pb.Value_BoolValue:
		return v.BoolValue, nil
	case *pb.Value_IntegerValue:
		return v.IntegerValue, nil
	case *pb.Value_DoubleValue:
		if math.IsNaN(v.DoubleValue) || math.IsInf(v.DoubleValue, 0) {
			return nil, invalid("cannot convert to json number")
		}
		return v.DoubleValue, nil
	case *pb.Value_StringValue:
		return v.StringValue, nil
	case *pb.Value_ListValue:
		list := make([]any, len(v.ListValue.GetValues()))
		for i, inner := range v.ListValue.GetValues() {
			var err error
			if list[i], err = readValue(inner); err != nil {
				return nil, err
			}
		}
		return list, nil
	case *pb.Value_StructValue:
		fields, err := readPayload(v.StructValue.GetFields())
		return orEmpty(fields), err
	default:
		return nil, nil
	}
}

func orEmpty(payload map[string]any) map[string]any {
	if payload == nil {
		return map[string]any{}
	}
	return payload
}

func protoPayload(payload map[string]any) map[string]*pb.Value {
	if len(payload) == 0 {
		return nil
	}
	fields := make(map[string]*pb.Value, len(payload))
	for name, value := range payload {
		fields[name] = protoValue(value)
	}
	return fields
}

func protoValue(value any) *pb.Value {
	switch v := value.(type) {
	case bool:
		return pb.NewValueBool(v)
	case int64:
		return pb.NewValueInt(v)
	case float64:
		return pb.NewValueDouble(v)
	case string:
		return &pb.Value{Kind: &pb.Value_StringValue{StringValue: v}}
	case []any:
		values := make([]*pb.Value, len(v))
		for i, inner := range v {
			values[i] = protoValue(inner)
		}
		return &pb.Value{Kind: &pb.Value_ListValue{ListValue: &pb.ListValue{Values: values}}}
	case map[string]any:
		return &pb.Value{Kind: &pb.Value_StructValue{StructValue: &pb.Struct{Fields: protoPayload(v)}}}
	default:
		return pb.NewValueNull()
	}
}

// merged is old with the top-level keys of update; a null removes its key.
func merged(old, update map[string]any) map[string]any {
	result := make(map[string]any, len(old)+len(update))
	maps.Copy(result, old)
	for name, value := range update {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = value
		}
	}
	return result
}

// mergedAt merges update into the objects at p, and makes objects and arrays of
// whatever stands in the way.
func mergedAt(old map[string]any, p path, update map[string]any) map[string]any {
	result, _ := mergeValue(old, p.steps, update).(map[string]any)
	return result
}

func mergeValue(old any, steps []step, update map[string]any) any {
	if len(steps) == 0 {
		object, _ := old.(map[string]any)
		return merged(object, update)
	}
	next, rest := steps[0], steps[1:]
	if next.kind == key {
		object, _ := old.(map[string]any)
		result := make(map[string]any, len(object)+1)
		maps.Copy(result, object)
		result[next.key] = mergeValue(object[next.key], rest, update)
		return result
	}
	list, _ := old.([]any)
	result := append([]any{}, list...)
	for i := range result {
		if next.kind == everyElement || next.index == i {
			result[i] = mergeValue(result[i], rest, update)
		}
	}
	return result
}

// without removes what p names. An array at the end of "a[]" is emptied; a
// single element is never removed, because doing it twice would remove two.
func without(old map[string]any, p path) map[string]any {
	result, _ := removeFrom(old, p.steps).(map[string]any)
	return result
}

func removeFrom(old any, steps []step) any {
	next, rest := steps[0], steps[1:]
	switch v := old.(type) {
	case map[string]any:
		inner, ok := v[next.key]
		if !ok || next.kind != key {
			return old
		}
		result := maps.Clone(v)
		if len(rest) == 0 {
			delete(result, next.key)
		} else {
			result[next.key] = removeFrom(inner, rest)
		}
		return result
	case []any:
		if next.kind == key || (next.kind == element && len(rest) == 0) {
			return old
		}
		if len(rest) == 0 {
			return []any{}
		}
		result := slices.Clone(v)
		for i := range result {
			if next.kind == everyElement || next.index == i {
				result[i] = removeFrom(result[i], rest)
			}
		}
		return result
	default:
		return old
	}
}
