package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"chunktide/chunk"
)

// YAML is the settings as a file of them, in the order of reference.yaml; each
// secret that is set reads ***.
func (c Config) YAML() ([]byte, error) {
	node, err := yamlOf(reflect.ValueOf(c))
	if err != nil {
		return nil, fmt.Errorf("write the settings as YAML: %w", err)
	}
	return yaml.Marshal(node)
}

// Tree is the same for other encoders: maps, lists, and what settings are made
// of, durations as text.
func (c Config) Tree() (map[string]any, error) {
	node, err := yamlOf(reflect.ValueOf(c))
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	return tree, node.Decode(&tree)
}

// yamlOf knows the kinds that settings have.
func yamlOf(v reflect.Value) (*yaml.Node, error) {
	if d, ok := v.Interface().(time.Duration); ok {
		return scalar("!!str", d.String()), nil
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		return scalar("!!str", string(text)), err
	}
	switch v.Kind() {
	case reflect.Struct:
		return yamlOfStruct(v)
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			entry, err := yamlOf(v.Index(i))
			if err != nil {
				return nil, err
			}
			if entry.Kind != yaml.ScalarNode {
				list.Style = 0
			} else {
				list.Style = yaml.FlowStyle
			}
			list.Content = append(list.Content, entry)
		}
		if len(list.Content) == 0 {
			list.Style = yaml.FlowStyle
		}
		return list, nil
	case reflect.String:
		return scalar("!!str", withoutQuery(withoutUser(v.String()))), nil
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool())), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return scalar("!!int", strconv.FormatInt(v.Int(), 10)), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return scalar("!!int", strconv.FormatUint(v.Uint(), 10)), nil
	case reflect.Float32, reflect.Float64:
		return scalarFloat(v.Float()), nil
	default:
		return nil, fmt.Errorf("a setting of type %s", v.Type())
	}
}

func yamlOfStruct(v reflect.Value) (*yaml.Node, error) {
	section := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("mapstructure")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		value, err := yamlOf(v.Field(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		section.Content = append(section.Content, scalar("!!str", name), value)
	}
	return section, nil
}

// withoutUser hides what stands before the host of a URL or an address, where
// some put a password. That a worker refuses such a URL does not keep it from
// being shown. It goes by the last @ and not by what url.Parse takes for the
// user: of http://u:#word@h and http://u:1/word@h that is nothing. So the path
// of a URL is hidden too where an @ is in it. A name such as me@realm stays.
func withoutUser(s string) string {
	at := strings.LastIndex(s, "@")
	if at < 0 || !strings.Contains(s[:at], ":") {
		return s
	}
	scheme, _, isURL := strings.Cut(s[:at], "://")
	if !isURL || !urlScheme.MatchString(scheme) {
		return chunk.Secret("it").String() + s[at:]
	}
	return scheme + "://" + chunk.Secret("it").String() + s[at:]
}

// withoutQuery hides the values that a URL or an address has behind its path,
// where some put a token. The names stay, since they say what is set. A text
// with a question mark in it, such as embedder.query_prefix, is no URL.
func withoutQuery(s string) string {
	at := strings.IndexAny(s, "?#")
	if at < 0 || !urlOrAddress.MatchString(s[:at]) && !query.MatchString(s) {
		return s
	}
	parts := queryPart.FindAllString(s[at:], -1)
	for i, part := range parts {
		name, value, named := strings.Cut(part[1:], "=")
		switch {
		case named:
			parts[i] = part[:1] + name + "=" + chunk.Secret(value).String()
		default:
			parts[i] = part[:1] + chunk.Secret(name).String()
		}
	}
	return s[:at] + strings.Join(parts, "")
}

// What is no scheme may be a part of the password.
var urlScheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*$`)

var (
	urlOrAddress = regexp.MustCompile(`(?s)^(([a-zA-Z][a-zA-Z0-9+.-]*:)?//.*|[a-zA-Z][a-zA-Z0-9+.-]*:/.*|[^\s/]+:\d+(/.*)?)$`)
	// query is one behind anything that could be a host and its path.
	query = regexp.MustCompile(`^[^\s?#]+\?[\w.-]+=`)
	// A part is what separates it from the one before, and what follows.
	queryPart = regexp.MustCompile(`[?#&;][^?#&;]*`)
)

// scalarFloat leaves whole numbers without the tag that YAML else asks for.
func scalarFloat(f float64) *yaml.Node {
	value := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.ContainsAny(value, ".eIN") {
		return scalar("!!float", value)
	}
	return scalar("!!int", value)
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}
