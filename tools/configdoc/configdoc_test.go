package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chunktide/configs"
)

func TestThePageIsCurrent(t *testing.T) {
	want, err := render("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("docs/CONFIG.md is not what the settings say now: run make docs")
	}
	for _, line := range []string{
		"### `kafka.batch.linger`\n\nduration · default `50ms` · `CHUNKTIDE_KAFKA_BATCH_LINGER`\n", "### `limits.memory`\n\nsize · ",
		"### `serve.models`\n\nlist of sections like embedder · ", "### `qdrant.api_key`\n\nsecret · default empty · ",
	} {
		if !strings.Contains(string(want), line) {
			t.Errorf("the page lacks %q", line)
		}
	}
}

// Every key that can be set in the environment has an entry.
func TestNoSettingIsMissing(t *testing.T) {
	page, err := render("../..")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := readReference("../../configs/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for key := range reference {
		entry := strings.Contains(string(page), "### `"+key+"`\n")
		section := strings.Contains(string(page), "## "+key+"\n")
		if entry == section {
			t.Errorf("%s: an entry: %v, a section: %v", key, entry, section)
		}
		if entry {
			entries++
		}
	}
	if headings := strings.Count(string(page), "\n### `"); headings != entries || entries < 150 {
		t.Errorf("%d entries for %d keys", headings, entries)
	}
}

func TestProseForReaders(t *testing.T) {
	names := map[string]string{"Max": "max", "MaxRetry": "max_retry", "Retry": "retry", "URL": "url", "Heartbeat": "heartbeat"}
	for text, want := range map[string]string{
		"MaxRetry is the longest.\n":                        "`max_retry` is the longest.",
		"URL is Redis's. The URL may\nhold a password.\n":   "`url` is Redis's. The URL may hold a password.",
		"X grows from Retry to MaxRetry.\n":                 "X grows from `retry` to `max_retry`.",
		"Retry-After bounds it. Max is a word here.\n":      "Retry-After bounds it. Max is a word here.",
		"It asks (Retry-After), with Retry-After too.\n":    "It asks (Retry-After), with Retry-After too.",
		"It is read_committed or <none>.\n":                 "It is `read_committed` or &lt;none>.",
		"The forms:\n\n\tredis://host:6379/0\n\nare all.\n": "The forms:\n\n    redis://host:6379/0\n\nare all.",
	} {
		if got, err := markdown(text, names); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "X is made by [NewX].\n"} {
		if got, err := markdown(text, names); err == nil {
			t.Errorf("%q was taken: %q", text, got)
		}
	}
}

func TestCommentsOfFields(t *testing.T) {
	dir := t.TempDir()
	code := `package p

// C is a section.
type C struct {
	// A and B are two.
	A int
	B int
	C int
}
`
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	structs, err := readPackage(dir)
	want := map[string]structComments{"C": {"C is a section.\n", map[string]string{"A": "A and B are two.\n", "B": "A and B are two.\n", "C": ""}}}
	if err != nil || !reflect.DeepEqual(structs, want) {
		t.Errorf("%v, %v; want %v", structs, err, want)
	}
}

// A setting without comment, or one that the reference lacks, is an error.
func TestWhatIsMissingIsNamed(t *testing.T) {
	p := &page{library: newLibrary("../.."), reference: map[string]setting{}}
	f := reflect.StructField{Name: "Wait", Type: reflect.TypeFor[time.Duration]()}
	p.entry("kafka.wait", f, structComments{}, map[string]string{})
	if len(p.problems) != 2 {
		t.Errorf("%v, want two problems", p.problems)
	}
	p = &page{library: newLibrary("../.."), reference: map[string]setting{"a": {"", "longer texts go to the dead letters"}}}
	if got := p.addition("a", "`a` is truncate or error."); got != "\n\nIn short: longer texts go to the dead letters." {
		t.Errorf("%q", got)
	}
	if got := p.addition("a", "Longer texts go there: to the dead letters."); got != "" {
		t.Errorf("what is said already is said again: %q", got)
	}
	if kind(reflect.TypeFor[configs.Bytes]()) != "size" || kind(reflect.TypeFor[[]int]()) != "list of whole numbers" || kind(reflect.TypeFor[float64]()) != "number" {
		t.Error("types have other names")
	}
}
