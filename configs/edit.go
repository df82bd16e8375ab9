package configs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrEdit wraps every reason for which [Edit] leaves a file as it is.
var ErrEdit = errors.New("cannot be edited safely")

// Edit returns the YAML of settings with the given whole numbers set, by key
// (kafka.batch.tokens). Every other byte stays as it was: comments, blank
// lines, order and style. The result is read again and compared; if it does
// not say exactly what it should, or the file has a form that is not
// understood, there is an error and no result.
func Edit(data []byte, values map[string]int) ([]byte, error) {
	want, err := tree(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEdit, err)
	}
	out := data
	for _, key := range slices.Sorted(maps.Keys(values)) {
		path := strings.Split(key, ".")
		if out, err = editOne(out, path, strconv.Itoa(values[key])); err != nil {
			return nil, fmt.Errorf("%w: %s: %w; set it by hand to %d", ErrEdit, key, err, values[key])
		}
		place(want, path, values[key])
	}
	got, err := tree(out)
	if err != nil || !reflect.DeepEqual(got, want) {
		return nil, fmt.Errorf("%w: it is written in a way that is not understood here; set %s by hand", ErrEdit,
			strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
	return out, nil
}

func tree(data []byte) (map[string]any, error) {
	m := map[string]any{}
	return m, yaml.Unmarshal(data, &m)
}

func place(m map[string]any, path []string, value int) {
	for _, p := range path[:len(path)-1] {
		next, ok := m[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[p] = next
		}
		m = next
	}
	m[path[len(path)-1]] = value
}

// editOne finds how deep the path exists, and replaces the value there or adds
// what is missing.
func editOne(data []byte, path []string, value string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	text := newLined(data)
	if len(document.Content) == 0 {
		return text.end(block(path, value, 0)), nil
	}
	node := document.Content[0]
	var key *yaml.Node // of node in its parent
	for depth, name := range path {
		if node.Kind == yaml.ScalarNode && node.Tag == "!!null" && node.Value == "" && key != nil {
			return text.after(key.Line, block(path[depth:], value, key.Column+1)), nil
		}
		if node.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("line %d holds no plain mapping", node.Line)
		}
		k, v := find(node, name)
		if k == nil {
			return add(text, node, key, path[depth:], value)
		}
		key, node = k, v
	}
	return replace(text, key, node, value)
}

func find(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// add puts what is missing under a mapping: at the end of the file for a new
// section, else right below the mapping's own key.
func add(text lined, mapping, key *yaml.Node, missing []string, value string) ([]byte, error) {
	switch {
	case mapping.Style&yaml.FlowStyle != 0 && len(mapping.Content) > 0:
		return text.insert(mapping.Content[0], flow(missing, value)+", ")
	case mapping.Style&yaml.FlowStyle != 0:
		return nil, fmt.Errorf("line %d holds {}", mapping.Line)
	case key == nil:
		return text.end(block(missing, value, 0)), nil
	default:
		return text.after(key.Line, block(missing, value, mapping.Content[0].Column-1)), nil
	}
}

func replace(text lined, key, node *yaml.Node, value string) ([]byte, error) {
	if node.Kind != yaml.ScalarNode || node.Style != 0 || node.Anchor != "" {
		return nil, fmt.Errorf("line %d holds more than a plain number", node.Line)
	}
	if node.Value == "" {
		return text.swap(key, key.Value+":", key.Value+": "+value)
	}
	return text.swap(node, node.Value, value)
}

// block is the path in block style, flow in flow style.
func block(path []string, value string, indent int) []string {
	var lines []string
	for i, p := range path {
		line := strings.Repeat(" ", indent+2*i) + p + ":"
		if i == len(path)-1 {
			line += " " + value
		}
		lines = append(lines, line)
	}
	return lines
}

func flow(path []string, value string) string {
	if len(path) == 1 {
		return path[0] + ": " + value
	}
	return path[0] + ": {" + flow(path[1:], value) + "}"
}

// lined is a text by lines, each with its end.
type lined struct {
	lines []string
	eol   string
}

func newLined(data []byte) lined {
	l := lined{eol: "\n"}
	if bytes.Contains(data, []byte("\r\n")) {
		l.eol = "\r\n"
	}
	l.lines = strings.SplitAfter(string(data), "\n")
	if last := len(l.lines) - 1; l.lines[last] == "" {
		l.lines = l.lines[:last]
	}
	return l
}

func (l lined) bytes() []byte { return []byte(strings.Join(l.lines, "")) }

// after adds lines below the line of that number, counted from 1.
func (l lined) after(number int, lines []string) []byte {
	if last := number - 1; !strings.HasSuffix(l.lines[last], "\n") {
		l.lines[last] += l.eol
	}
	for i, line := range lines {
		l.lines = slices.Insert(l.lines, number+i, line+l.eol)
	}
	return l.bytes()
}

func (l lined) end(lines []string) []byte {
	if len(l.lines) == 0 {
		return []byte(strings.Join(lines, l.eol) + l.eol)
	}
	return l.after(len(l.lines), lines)
}

func (l lined) insert(node *yaml.Node, text string) ([]byte, error) {
	return l.swap(node, "", text)
}

// swap replaces old, which must stand where node begins.
func (l lined) swap(node *yaml.Node, old, text string) ([]byte, error) {
	runes := []rune(l.lines[node.Line-1])
	if node.Column < 1 || node.Column-1 > len(runes) {
		return nil, fmt.Errorf("line %d is not as it was read", node.Line)
	}
	before, rest := string(runes[:node.Column-1]), string(runes[node.Column-1:])
	if !strings.HasPrefix(rest, old) {
		return nil, fmt.Errorf("line %d is not written plainly", node.Line)
	}
	l.lines[node.Line-1] = before + text + rest[len(old):]
	return l.bytes(), nil
}

// EditFile is [Edit] on a file, which is made if there is none. The file is
// replaced at once: whoever reads it sees it whole, before or after.
func EditFile(name string, values map[string]int) error {
	mode := os.FileMode(0o644)
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
	}
	out, err := Edit(data, values)
	if err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	return replaceFile(name, out, mode)
}

func replaceFile(name string, data []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
