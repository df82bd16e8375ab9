package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// DeadLetter is a record that could not be applied, without its text.
type DeadLetter struct {
	// Topic, Partition and Offset are the original record's.
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// LetterPartition and LetterOffset are where the letter lies.
	LetterPartition int32  `json:"letter_partition"`
	LetterOffset    int64  `json:"letter_offset"`
	Reason          string `json:"reason"`
	Stage           string `json:"stage"`
	Message         string `json:"message"`
	// At is when it was rejected, RecordAt the record's own time.
	At       time.Time `json:"at"`
	RecordAt time.Time `json:"record_at,omitzero"`
	// KeyBytes and ValueBytes are the sizes of what the letter carries, Omitted
	// says what it does not.
	KeyBytes   int    `json:"key_bytes"`
	ValueBytes int    `json:"value_bytes"`
	Omitted    string `json:"omitted,omitempty"`
	// Preview is the [Shape] of the value.
	Preview string `json:"preview"`
}

// Bounds of a preview.
const (
	shapeFields = 12
	shapeName   = 32
	shapeBytes  = 1 << 20
)

// Shape describes a record's value by the names, types and sizes of its
// fields: what is wrong with it can mostly be told without what it says. None
// of the values is in it, but numbers, true, false and null; and of the names
// only those that look like a column's.
func Shape(value []byte) string {
	switch {
	case value == nil:
		return "no value (a tombstone)"
	case len(value) == 0:
		return "an empty value"
	case len(value) > shapeBytes:
		return fmt.Sprintf("%d bytes, too many to look at", len(value))
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	first, err := d.Token()
	if err != nil {
		return notJSON(value, d)
	}
	if first != json.Delim('{') {
		return kindOf(first) + ", no object"
	}
	var fields []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return broken(fields, d)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return broken(append(fields, printable(name)+" …"), d)
		}
		fields = append(fields, printable(name)+" "+kind(raw))
	}
	if _, err := d.Token(); err != nil {
		return broken(fields, d)
	}
	out := object(fields)
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		out += ", and more behind it"
	}
	return out
}

func notJSON(value []byte, d *json.Decoder) string {
	what := "bytes that are no text"
	if utf8.Valid(value) {
		what = "no JSON"
	}
	return fmt.Sprintf("%s, from byte %d of %d", what, d.InputOffset(), len(value))
}

func broken(fields []string, d *json.Decoder) string {
	return object(fields) + fmt.Sprintf(" — broken after byte %d", d.InputOffset())
}

func object(fields []string) string {
	more := ""
	if len(fields) > shapeFields {
		more = fmt.Sprintf(", and %d more", len(fields)-shapeFields)
		fields = fields[:shapeFields]
	}
	return "{" + strings.Join(fields, ", ") + more + "}"
}

func printable(name json.Token) string {
	s, _ := name.(string)
	if s == "" || len(s) > shapeName {
		return fmt.Sprintf("a name of %d bytes:", len(s))
	}
	for _, r := range s {
		if r != '_' && r != '.' && r != '-' && r != '$' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Sprintf("a name of %d bytes:", len(s))
		}
	}
	return s + ":"
}

func kind(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		var m map[string]json.RawMessage
		_ = json.Unmarshal(raw, &m)
		return fmt.Sprintf("object of %d", len(m))
	case '[':
		var l []json.RawMessage
		_ = json.Unmarshal(raw, &l)
		return fmt.Sprintf("list of %d", len(l))
	case '"':
		var s string
		_ = json.Unmarshal(raw, &s)
		return fmt.Sprintf("text of %d", utf8.RuneCountInString(s))
	default: // a number, true, false, null
		if len(raw) > shapeName {
			return "a number of " + fmt.Sprint(len(raw)) + " digits"
		}
		return string(raw)
	}
}

func kindOf(t json.Token) string {
	switch t := t.(type) {
	case string:
		return fmt.Sprintf("a text of %d", utf8.RuneCountInString(t))
	case json.Delim:
		return "a list"
	case nil:
		return "null"
	default:
		return "a single value"
	}
}
