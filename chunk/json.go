package chunk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// object is a decoded JSON object. Numbers are json.Number, so that no integer
// goes through a float.
type object = map[string]any

func has(o object, key string) bool {
	_, ok := o[key]
	return ok
}

// parse reads one JSON object, having checked what would be dear or dangerous
// to find out later.
func (d *Decoder) parse(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, Permanentf(ReasonInvalidUTF8, "the value is not valid UTF-8")
	}
	if depth := nesting(data); depth > d.cfg.Limits.JSONDepth {
		return nil, Permanentf(ReasonTooDeep, "the JSON is nested %d levels deep, the limit is %d (events.limits.json_depth)", depth, d.cfg.Limits.JSONDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, brokenJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, Permanentf(ReasonBrokenJSON, "more follows after the JSON value; a record holds one event")
	}
	o, ok := value.(object)
	if !ok {
		return nil, wrongType("the value", value, "an object")
	}
	return o, nil
}

// brokenJSON tells where the JSON breaks, but not what stands there.
func brokenJSON(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return Permanentf(ReasonBrokenJSON, "the value is not JSON: it breaks at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Permanentf(ReasonBrokenJSON, "the value is not JSON: it ends too early")
	default:
		return Permanentf(ReasonBrokenJSON, "the value is not JSON")
	}
}

// nesting is how deep objects and arrays stand in each other, found without
// recursion and before anything is built.
func nesting(data []byte) int {
	depth, deepest := 0, 0
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func wrongType(field string, value any, want string) error {
	return Permanentf(ReasonWrongType, "%s is %s, want %s", field, kind(value), want)
}

// kind names a JSON type. It never shows the value.
func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	default:
		return "an object"
	}
}

// text reads an optional string; null counts as absent.
func text(o object, key string) (string, error) {
	switch v := o[key].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	default:
		return "", wrongType(key, v, "a string")
	}
}

// name reads an optional identifier. Databases count rows, so integers are
// taken where they come from one.
func (d *Decoder) name(o object, key string, integers bool) (string, error) {
	s := ""
	switch v := o[key].(type) {
	case nil:
	case string:
		s = v
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err != nil || !integers {
			return "", wrongType(key, v, "a string")
		}
		s = v.String()
	default:
		return "", wrongType(key, v, "a string")
	}
	if len(s) > d.cfg.Limits.NameBytes {
		return "", Permanentf(ReasonTooLarge, "%s has %d bytes, the limit is %d (events.limits.name_bytes)", key, len(s), d.cfg.Limits.NameBytes)
	}
	return s, nil
}

// position reads an optional place in the document.
func position(o object, key string) (int64, error) {
	switch v := o[key].(type) {
	case nil:
		return 0, nil
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil || n < 0 {
			return 0, Permanentf(ReasonWrongType, "%s must be a whole number from 0", key)
		}
		return n, nil
	default:
		return 0, wrongType(key, v, "a whole number")
	}
}

// version reads an optional version; 0 is none.
func version(key string, value any) (Version, error) {
	switch v := value.(type) {
	case nil:
		return 0, nil
	case json.Number:
		n, err := ParseVersion(v.String())
		if err != nil {
			return 0, Permanent(ReasonBadVersion, err)
		}
		return n, nil
	default:
		return 0, wrongType(key, v, "a whole number")
	}
}

// reservedKey is the name under which the index keeps what is Chunktide's own.
const reservedKey = "_ct"

// metadata converts the metadata of an event and checks its size.
func (d *Decoder) metadata(field string, o object) (map[string]any, error) {
	if o == nil {
		return nil, nil
	}
	if has(o, reservedKey) {
		return nil, Permanentf(ReasonReservedKey, "%s has the key %q, which Chunktide keeps for itself: rename it", field, reservedKey)
	}
	size := 0
	value, err := plain(field, o, &size)
	if err != nil {
		return nil, err
	}
	if size > d.cfg.Limits.MetadataBytes {
		return nil, Permanentf(ReasonTooLarge, "%s has %d bytes, the limit is %d (events.limits.metadata_bytes)", field, size, d.cfg.Limits.MetadataBytes)
	}
	return value.(object), nil
}

// scalarBytes is what a number, boolean or null counts towards the limit.
const scalarBytes = 8

// plain replaces json.Number by int64, or float64 where it must, in place.
// The depth of value was checked before.
func plain(field string, value any, size *int) (any, error) {
	switch v := value.(type) {
	case object:
		for key, inner := range v {
			*size += len(key)
			converted, err := plain(field, inner, size)
			if err != nil {
				return nil, err
			}
			v[key] = converted
		}
	case []any:
		for i, inner := range v {
			converted, err := plain(field, inner, size)
			if err != nil {
				return nil, err
			}
			v[i] = converted
		}
	case string:
		*size += len(v)
	case json.Number:
		*size += scalarBytes
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n, nil
		}
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, Permanent(ReasonWrongType, fmt.Errorf("%s holds a number beyond the range of a double", field))
		}
		return f, nil
	default:
		*size += scalarBytes
	}
	return value, nil
}
