// Package docs holds tests of what the pages in this folder say.
package docs

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"chunktide/chunk"
	"chunktide/consumer"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// specification compiles AsyncAPI's own schema.
func specification(t *testing.T) *jsonschema.Schema {
	t.Helper()
	unpack, err := gzip.NewReader(bytes.NewReader(read(t, "testdata/asyncapi-3.0.0.json.gz")))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(unpack)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const id = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	if err := c.AddResource(id, document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON reads YAML as what a JSON schema is about.
func asJSON(t *testing.T, data string) map[string]any {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal([]byte(data), &tree); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return document.(map[string]any)
}

func TestTheAsyncAPIDocumentIsOne(t *testing.T) {
	schema, document := specification(t), string(read(t, "asyncapi.yaml"))
	if err := schema.Validate(asJSON(t, document)); err != nil {
		t.Error(err)
	}
	// Controls: what is none is refused.
	for _, change := range [][2]string{
		{"asyncapi: 3.0.0", "asyncapi: 2.6.0"}, {"action: receive", "action: subscribe"}, {"    address: chunks\n", "    location: chunks\n"},
		{"title: Chunktide", "name: Chunktide"}, {"schemaFormat: application/schema+json;version=draft-2020-12", "schemaFormat: 7"},
	} {
		broken := strings.Replace(document, change[0], change[1], 1)
		if broken == document {
			t.Errorf("%q does not occur", change[0])
		} else if schema.Validate(asJSON(t, broken)) == nil {
			t.Errorf("%q for %q is accepted", change[1], change[0])
		}
	}
}

// follow returns what a reference within the document stands for.
func follow(document map[string]any, ref string) (at any) {
	at = document
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[part]
	}
	return at
}

func references(value any, found map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			found[ref] = true
		}
		for _, inner := range v {
			references(inner, found)
		}
	case []any:
		for _, inner := range v {
			references(inner, found)
		}
	}
}

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	document := asJSON(t, string(read(t, "asyncapi.yaml")))
	found := map[string]bool{}
	references(document, found)
	for ref := range found {
		if file, ok := strings.CutPrefix(ref, "./"); ok {
			read(t, file)
		} else if follow(document, ref) == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	if len(found) < 8 || follow(document, "#/components/messages/none") != nil {
		t.Errorf("references found: %v", found)
	}
}

func TestExamplesAreNativeEvents(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("events.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	examples, _ := follow(asJSON(t, string(read(t, "asyncapi.yaml"))), "#/components/messages/native/examples").([]any)
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, example := range examples {
		if err := schema.Validate(example.(map[string]any)["payload"]); err != nil {
			t.Error(err)
		}
	}
}

// The headers and reasons of dead letters are those of the code.
func TestDeadLettersAreDescribed(t *testing.T) {
	headers := []string{
		consumer.HeaderTopic, consumer.HeaderPartition, consumer.HeaderOffset, consumer.HeaderStage, consumer.HeaderReason,
		consumer.HeaderMessage, consumer.HeaderTimestamp, consumer.HeaderFirstOffset, consumer.HeaderOmitted,
	}
	document := asJSON(t, string(read(t, "asyncapi.yaml")))
	letter, _ := follow(document, "#/components/messages/deadLetter/headers").(map[string]any)
	properties, _ := letter["properties"].(map[string]any)
	for _, h := range headers {
		if properties[h] == nil {
			t.Errorf("asyncapi.yaml lacks header %s", h)
		}
		if !bytes.Contains(read(t, "EVENTS.md"), []byte("`"+h+"`")) {
			t.Errorf("EVENTS.md lacks header %s", h)
		}
	}
	if len(properties) != len(headers) {
		t.Errorf("%d headers are described, there are %d", len(properties), len(headers))
	}
	for message, h := range map[string]string{"redriven": consumer.HeaderRedriven, "native": consumer.HeaderRedrivenFrom} {
		if follow(document, "#/components/messages/"+message+"/headers/properties/"+h) == nil {
			t.Errorf("asyncapi.yaml lacks header %s of %s", h, message)
		}
		if !bytes.Contains(read(t, "EVENTS.md"), []byte("`"+h+"`")) {
			t.Errorf("EVENTS.md lacks header %s", h)
		}
	}
	var reasons []string
	reason, _ := properties[consumer.HeaderReason].(map[string]any)
	list, _ := reason["enum"].([]any)
	for _, r := range list {
		reasons = append(reasons, r.(string))
	}
	var want []string
	for _, r := range chunk.Reasons() {
		want = append(want, string(r))
	}
	slices.Sort(reasons)
	slices.Sort(want)
	if !reflect.DeepEqual(reasons, want) {
		t.Errorf("reasons %v, want %v", reasons, want)
	}
}
