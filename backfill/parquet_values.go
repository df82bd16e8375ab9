package backfill

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// plainValue turns what the Parquet library makes of a value into what
// encoding/json would write as the same: times and dates as text, and no type
// whose meaning would be lost.
func plainValue(node parquet.Node, value any) (any, error) {
	v := reflect.ValueOf(value)
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil, nil
	}
	if node.Leaf() {
		return plainLeaf(node.Type(), v)
	}
	switch v.Kind() {
	case reflect.Map:
		return plainMap(node, v)
	case reflect.Slice:
		return plainList(node, v)
	default:
		return nil, fmt.Errorf("a column has the type %s, which is not known: cast it to text, numbers, lists or structs", node.Type())
	}
}

// field is a node's field of that name, or nil.
func field(node parquet.Node, name string) parquet.Node {
	for _, f := range node.Fields() {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// plainMap converts structs, and maps whose keys are text.
func plainMap(node parquet.Node, v reflect.Value) (any, error) {
	out := make(map[string]any, v.Len())
	entry := mapValue(node)
	for iter := v.MapRange(); iter.Next(); {
		name := iter.Key().String()
		of := entry
		if of == nil {
			of = field(node, name)
		}
		if of == nil {
			return nil, errors.New("a column's value does not fit its schema")
		}
		converted, err := plainValue(of, iter.Value().Interface())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = converted
	}
	return out, nil
}

// mapValue is the type of a MAP's values, nil for a struct.
func mapValue(node parquet.Node) parquet.Node {
	if _, ok := logical(node.Type()).(*format.MapType); !ok {
		return nil
	}
	for _, entry := range node.Fields() {
		return field(entry, "value")
	}
	return nil
}

// plainList converts a LIST, whose elements lie two levels down, and a
// repeated field.
func plainList(node parquet.Node, v reflect.Value) (any, error) {
	element := node
	if _, ok := logical(node.Type()).(*format.ListType); ok {
		for _, list := range node.Fields() {
			for _, e := range list.Fields() {
				element = e
			}
		}
	}
	out := make([]any, v.Len())
	for i := range out {
		var err error
		if out[i], err = plainValue(element, v.Index(i).Interface()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plainLeaf converts a single value. What it cannot say without loss it
// refuses.
func plainLeaf(t parquet.Type, v reflect.Value) (any, error) {
	lost := fmt.Errorf("the type %s has no counterpart here: cast it to text, a whole number or a timestamp of 64 bits", t)
	if t.Kind() == parquet.Int96 {
		return nil, lost
	}
	switch of := logical(t).(type) {
	case *format.DecimalType, *format.TimeType, *format.Float16Type:
		return nil, lost
	case *format.TimestampType:
		return instant(v.Int(), of.Unit), nil
	case *format.DateType:
		return time.Unix(v.Int()*secondsPerDay, 0).UTC().Format(time.DateOnly), nil
	}
	switch v.Kind() {
	case reflect.String:
		return textOf(v.String())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return nil, fmt.Errorf("the type %s is not known", t)
		}
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return textOf(string(b))
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, errors.New("a number is not finite")
		}
	default:
	}
	return v.Interface(), nil
}

const secondsPerDay = 24 * 60 * 60

func textOf(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("a text is not valid UTF-8")
	}
	return s, nil
}

// instant is RFC 3339, in UTC: Parquet has no other zone.
func instant(n int64, unit format.TimeUnit) string {
	t := time.Unix(0, n)
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		t = time.UnixMilli(n)
	case *format.MicroSeconds:
		t = time.UnixMicro(n)
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// logical is the meaning of a type beyond its bytes, nil without one.
func logical(t parquet.Type) format.LogicalTypeValue {
	if l := t.LogicalType(); l != nil {
		return l.Value
	}
	return nil
}
