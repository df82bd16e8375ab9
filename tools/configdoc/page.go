package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/embedder"
)

const preface = `# Settings

Every setting, as the code has it. This page is made by ` + "`make docs`" + ` from the settings' types and their comments, with the defaults of
[configs/reference.yaml](../configs/reference.yaml), which is the file to copy from.

    chunktide run --config my.yaml
    CHUNKTIDE_KAFKA_GROUP=mine chunktide run        # the key in upper case
    chunktide run --set kafka.group=mine            # the last word

Durations are written 200ms, 5s, 2m; lists on one line are separated by commas. A secret can be read from a file instead: its key, or its
variable, with ` + "`_file`" + ` behind it. Unknown keys and variables fail, and all problems are reported at once.
`

// page is the page in the making.
type page struct {
	bytes.Buffer
	library   *library
	reference map[string]setting
	problems  []error
}

// setting is what the reference says of a key.
type setting struct{ value, comment string }

// render makes the page of the module in root.
func render(root string) ([]byte, error) {
	reference, err := readReference(filepath.Join(root, "configs", "reference.yaml"))
	if err != nil {
		return nil, err
	}
	p := &page{library: newLibrary(root), reference: reference}
	p.WriteString(preface)
	p.sections(reflect.TypeFor[configs.Config](), "")
	return p.Bytes(), errors.Join(p.problems...)
}

// sections writes the keys of a struct, and then the structs in it.
func (p *page) sections(t reflect.Type, at string) {
	comments, err := p.library.of(t)
	if err != nil {
		p.problems = append(p.problems, err)
		return
	}
	names := settingNames(t)
	var inner []reflect.StructField
	for f := range t.Fields() {
		key := names[f.Name]
		switch {
		case key == "" || key == "-":
		case f.Type.Kind() == reflect.Struct:
			inner = append(inner, f)
		default:
			p.entry(strings.TrimPrefix(at+"."+key, "."), f, comments, names)
		}
	}
	for _, f := range inner {
		p.section(strings.TrimPrefix(at+"."+names[f.Name], "."), f)
	}
}

// settingNames maps the fields of a struct to their keys in it.
func settingNames(t reflect.Type) map[string]string {
	names := map[string]string{}
	for f := range t.Fields() {
		names[f.Name] = f.Tag.Get("mapstructure")
	}
	return names
}

func (p *page) section(key string, f reflect.StructField) {
	comments, err := p.library.of(f.Type)
	if err != nil {
		p.problems = append(p.problems, err)
		return
	}
	names := settingNames(f.Type)
	names[f.Type.Name()] = key
	text, err := markdown(comments.own, names)
	if err != nil {
		p.problems = append(p.problems, fmt.Errorf("%s.%s: %w", f.Type.PkgPath(), f.Type.Name(), err))
	}
	fmt.Fprintf(p, "\n## %s\n\n%s%s\n", key, text, p.addition(key, text))
	p.sections(f.Type, key)
}

func (p *page) entry(key string, f reflect.StructField, comments structComments, names map[string]string) {
	text, err := markdown(comments.fields[f.Name], names)
	if err != nil {
		p.problems = append(p.problems, fmt.Errorf("%s (field %s): %w", key, f.Name, err))
	}
	s, ok := p.reference[key]
	if !ok {
		p.problems = append(p.problems, fmt.Errorf("%s is not in the reference", key))
	}
	def := "`" + s.value + "`"
	if s.value == "" {
		def = "empty"
	}
	fmt.Fprintf(p, "\n### `%s`\n\n%s · default %s · `%s`\n\n%s%s\n", key, kind(f.Type), def, configs.EnvName(key), text, p.addition(key, text))
}

// word is what carries a meaning, mostly.
var word = regexp.MustCompile(`[\p{L}\p{N}]{5,}`)

// addition is the reference's comment, where most of it is not said in text.
func (p *page) addition(key, text string) string {
	short := p.reference[key].comment
	words, known := word.FindAllString(strings.ToLower(short), -1), 0
	for _, w := range words {
		if strings.Contains(strings.ToLower(text), w[:5]) {
			known++
		}
	}
	if 2*known >= len(words) {
		return ""
	}
	return "\n\nIn short: " + short + "."
}

// kind names a type in words.
func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[chunk.Secret]():
		return "secret"
	case reflect.TypeFor[slog.Level]():
		return "string"
	case reflect.TypeFor[configs.Bytes]():
		return "size"
	case reflect.TypeFor[chunk.SnapshotBehind]():
		return "whole number, or all"
	case reflect.TypeFor[[]embedder.Config]():
		return "list of sections like embedder"
	}
	switch {
	case t.Kind() == reflect.Slice:
		return "list of " + kind(t.Elem()) + "s"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "whole number"
	default:
		return "number"
	}
}

// readReference maps each key of the reference to what stands there.
func readReference(path string) (map[string]setting, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	found := map[string]setting{}
	collect(document.Content[0], "", found)
	return found, nil
}

func collect(section *yaml.Node, at string, found map[string]setting) {
	for i := 0; i+1 < len(section.Content); i += 2 {
		name, value := section.Content[i], section.Content[i+1]
		key := strings.TrimPrefix(at+"."+name.Value, ".")
		said := strings.TrimSpace(strings.TrimPrefix(name.LineComment+value.LineComment, "#"))
		s := setting{value: value.Value, comment: said}
		switch value.Kind {
		case yaml.MappingNode:
			collect(value, key, found)
		case yaml.SequenceNode:
			var items []string
			for _, item := range value.Content {
				items = append(items, item.Value)
			}
			s.value = "[" + strings.Join(items, ", ") + "]"
		default:
		}
		found[key] = s
	}
}
