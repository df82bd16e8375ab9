package sink

import (
	"fmt"
	"unicode/utf8"

	"github.com/qdrant/go-client/qdrant"
)

// values makes payload values, for the points of one request: the client's own
// constructors allocate each of some twenty values of a point twice. It also
// adds up how many bytes they take on the wire, so that no message need be
// measured before it is sent. The zero value is ready for use, by one goroutine.
type values struct {
	free    []qdrant.Value
	strings []qdrant.Value_StringValue
	ints    []qdrant.Value_IntegerValue
	// bytes is never less than what was made, keys included, and a little more.
	bytes int
}

// valueOverhead is the most that tags and lengths add to one value in a map:
// those of the entry, of its key, of its value, and of the value's kind, which
// may hold ten bytes of a number.
const valueOverhead = 32

// slab is how many values are allocated at once.
const slab = 128

func take[T any](free *[]T) *T {
	if len(*free) == 0 {
		*free = make([]T, slab)
	}
	x := &(*free)[0]
	*free = (*free)[1:]
	return x
}

func (v *values) text(s string) *qdrant.Value {
	value, kind := take(&v.free), take(&v.strings)
	kind.StringValue, value.Kind = s, kind
	v.bytes += valueOverhead + len(s)
	return value
}

func (v *values) integer(i int64) *qdrant.Value {
	value, kind := take(&v.free), take(&v.ints)
	kind.IntegerValue, value.Kind = i, kind
	v.bytes += valueOverhead
	return value
}

func (v *values) boolean(b bool) *qdrant.Value {
	value := take(&v.free)
	value.Kind = &qdrant.Value_BoolValue{BoolValue: b}
	v.bytes += valueOverhead
	return value
}

func (v *values) object(fields map[string]*qdrant.Value) *qdrant.Value {
	value := take(&v.free)
	value.Kind = &qdrant.Value_StructValue{StructValue: &qdrant.Struct{Fields: fields}}
	v.bytes += valueOverhead
	for key := range fields {
		v.bytes += len(key)
	}
	return value
}

// of converts what a decoder makes of JSON: see [chunk.Event]'s Metadata.
func (v *values) of(x any) (*qdrant.Value, error) {
	switch x := x.(type) {
	case string:
		if !utf8.ValidString(x) {
			return nil, fmt.Errorf("a string of %d bytes is no UTF-8", len(x))
		}
		return v.text(x), nil
	case bool:
		return v.boolean(x), nil
	case int64:
		return v.integer(x), nil
	case map[string]any:
		fields := make(map[string]*qdrant.Value, len(x))
		for key, e := range x {
			if !utf8.ValidString(key) {
				return nil, fmt.Errorf("a key of %d bytes is no UTF-8", len(key))
			}
			value, err := v.of(e)
			if err != nil {
				return nil, err
			}
			fields[key] = value
		}
		return v.object(fields), nil
	case []any:
		list := make([]*qdrant.Value, len(x))
		for i, e := range x {
			value, err := v.of(e)
			if err != nil {
				return nil, err
			}
			list[i] = value
		}
		v.bytes += valueOverhead
		return qdrant.NewValueFromList(list...), nil
	case nil, float64, int:
		v.bytes += valueOverhead
		return qdrant.NewValue(x)
	default:
		return nil, fmt.Errorf("a %T is not what JSON holds", x)
	}
}
