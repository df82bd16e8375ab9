package chunk

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../docs/events.schema.json"

// eventSchema compiles the published schema; compiling checks it against the
// metaschema of the draft that it names.
func eventSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func refusal(t *testing.T, s *jsonschema.Schema, value string) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
	if err != nil {
		return err
	}
	return s.Validate(document)
}

func TestTheSchemaIsOne(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if schema := eventSchema(t); schema.DraftVersion != 2020 {
		t.Errorf("the schema is of draft %d, want 2020-12", schema.DraftVersion)
	}
	// Control: the metaschema refuses a schema that is none.
	broken := strings.Replace(string(data), `"type": "object"`, `"type": "objects"`, 1)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(broken))
	if err != nil || broken == string(data) {
		t.Fatal("the control is no other document: ", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("broken.json", document); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compile("broken.json"); err == nil {
		t.Error("a schema of an unknown type was compiled")
	}
}

// What the decoder takes as a native event, the schema takes.
func TestTheSchemaTakesWhatTheDecoderTakes(t *testing.T) {
	schema := eventSchema(t)
	values := docExamples(t, "native")
	if len(values) < 3 {
		t.Fatalf("%d native examples in the docs, want those of EVENTS.md", len(values))
	}
	for _, tt := range goodInputs() {
		values = append(values, tt.value)
	}
	for _, tt := range contentInputs() {
		values = append(values, tt.value)
	}
	// Refused for a reason that another setting gives: a valid event by default.
	for _, tt := range badInputs() {
		if _, err := decoder(t, nil).Decode(rec(tt.value)); err == nil {
			values = append(values, tt.value)
		}
	}
	for _, value := range values {
		if _, err := decoder(t, nil).Decode(rec(value)); err != nil {
			t.Errorf("the decoder refuses %s: %v", value, err)
		}
		if err := refusal(t, schema, value); err != nil {
			t.Errorf("the schema refuses %s: %v", value, err)
		}
	}
}

// What the decoder refuses, the schema refuses, but for what a JSON Schema
// cannot say: it sees numbers, not how they are written, and no bytes.
func TestTheSchemaRefusesWhatTheDecoderRefuses(t *testing.T) {
	beyond := map[string]string{
		"version with an exponent": "1e3 is an integer to a schema",
		"metadata beyond doubles":  "JSON has no largest number",
		"a bomb of brackets":       "it is no object, and too deep to be parsed at all",
	}
	schema := eventSchema(t)
	refused := 0
	for _, tt := range badInputs() {
		if _, err := decoder(t, nil).Decode(rec(tt.value)); err == nil {
			continue // refused under other settings only
		}
		err := refusal(t, schema, tt.value)
		if why, known := beyond[tt.name]; known {
			delete(beyond, tt.name)
			if err == nil || tt.name == "a bomb of brackets" {
				continue
			}
			t.Errorf("%s: the schema does refuse it, though %s: %v", tt.name, why, err)
		}
		if err == nil {
			t.Errorf("%s: the schema takes %.200s", tt.name, tt.value)
		}
		refused++
	}
	if refused < 25 || len(beyond) > 0 {
		t.Errorf("%d values were refused; unheard of: %v", refused, beyond)
	}
	for _, value := range []string{
		`{"op":"upsert","document_id":"","chunk_id":"c","text":"x"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"","text":"x"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","text":"` + strings.Repeat("x", 1<<20+1) + `"}`,
		`{"op":"upsert","document_id":"` + strings.Repeat("d", 1<<10+1) + `","chunk_id":"c","text":"x"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","position":9223372036854775808}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","ts":"2026-13-01T00:00:00Z"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","before":[]}`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","before":{"text":1}}`,
	} {
		if _, err := decoder(t, nil).Decode(rec(value)); err == nil {
			t.Errorf("the decoder takes %.120s", value)
		}
		if err := refusal(t, schema, value); err == nil {
			t.Errorf("the schema takes %.120s", value)
		}
	}
}

// Every example of the docs is what it is said to be.
func TestTheExamplesOfTheDocsAreEvents(t *testing.T) {
	for kind, least := range map[string]int{"native": 3, "debezium": 3, "cloudevent": 1} {
		examples := docExamples(t, kind)
		if len(examples) < least {
			t.Errorf("%d %s examples in the docs, want %d", len(examples), kind, least)
		}
		for _, value := range examples {
			events, err := decoder(t, nil).Decode(rec(value))
			if err != nil || len(events) == 0 {
				t.Errorf("%s: %d events, %v", value, len(events), err)
			}
		}
	}
	keys := docExamples(t, "key")
	if len(keys) == 0 {
		t.Error("no key in the docs")
	}
	for _, key := range keys {
		r := rec("")
		r.Key = []byte(key)
		if events, err := decoder(t, nil).Decode(r); err != nil || len(events) != 1 || events[0].Op != Delete {
			t.Errorf("a tombstone under %s: %v, %v", key, events, err)
		}
	}
}

// The table of reasons is whole, and the limits are the defaults.
func TestEventsPageIsCurrent(t *testing.T) {
	page := readDoc(t, "../docs/EVENTS.md")
	_, table, _ := strings.Cut(page, "| reason |")
	rows := map[Reason]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(table, -1) {
		rows[Reason(m[1])] = true
	}
	for _, reason := range Reasons() {
		if !rows[reason] {
			t.Errorf("reason %s has no row", reason)
		}
		delete(rows, reason)
	}
	if len(rows) > 0 {
		t.Errorf("rows of no reason: %v", rows)
	}
	limits := reflect.ValueOf(DefaultDecoderConfig().Limits)
	for i := range limits.NumField() {
		key := limits.Type().Field(i).Tag.Get("mapstructure")
		if row := fmt.Sprintf("| `events.limits.%s` | %d |", key, limits.Field(i).Int()); !strings.Contains(page, row) {
			t.Errorf("the page lacks %q", row)
		}
	}
}

func readDoc(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// docExamples are the JSON values in the blocks of the docs that are marked as
// of some kind (```json native), those of README.md as native ones, and for
// native ones those of the schema itself.
func docExamples(t *testing.T, kind string) (values []string) {
	t.Helper()
	text := ""
	for _, block := range regexp.MustCompile("(?s)```json "+kind+"\n(.*?)```").FindAllStringSubmatch(readDoc(t, "../docs/EVENTS.md"), -1) {
		text += block[1]
	}
	if kind == "native" {
		for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(readDoc(t, "../README.md"), -1) {
			text += block[1]
		}
		var schema struct{ Examples []json.RawMessage }
		if err := json.Unmarshal([]byte(readDoc(t, schemaFile)), &schema); err != nil {
			t.Fatal(err)
		}
		for _, example := range schema.Examples {
			text += string(example)
		}
	}
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatalf("an example of kind %s: %v", kind, err)
		}
		values = append(values, string(value))
	}
	return values
}
