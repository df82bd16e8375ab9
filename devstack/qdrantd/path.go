package qdrantd

import (
	"strconv"
	"strings"
	"unicode"
)

// A path names values in a payload: "a.b", `"with space".b`, "a[0].b" and, for
// every element of an array, "a[].b". A path into an array does not go through
// its elements by itself: "a.b" finds nothing in {"a":[{"b":1}]}.
type path struct {
	steps []step // never empty; the first is a key
}

type stepKind uint8

const (
	key stepKind = iota
	element
	everyElement
)

type step struct {
	kind  stepKind
	key   string
	index int
}

func parsePath(s string) (path, error) {
	first, rest, ok := cutKey(s)
	if !ok {
		return path{}, invalid("Invalid json path: '%s'", s)
	}
	p := path{steps: []step{{kind: key, key: first}}}
	for rest != "" {
		var next step
		if next, rest, ok = cutStep(rest); !ok {
			return path{}, invalid("Invalid json path: '%s'", s)
		}
		p.steps = append(p.steps, next)
	}
	return p, nil
}

func cutStep(s string) (_ step, rest string, ok bool) {
	if after, isKey := strings.CutPrefix(s, "."); isKey {
		name, rest, ok := cutKey(after)
		return step{kind: key, key: name}, rest, ok
	}
	inner, isIndex := strings.CutPrefix(s, "[")
	if !isIndex {
		return step{}, "", false
	}
	digits, rest, closed := strings.Cut(inner, "]")
	if !closed {
		return step{}, "", false
	}
	if digits == "" {
		return step{kind: everyElement}, rest, true
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return step{kind: element, index: int(n)}, rest, err == nil
}

// cutKey reads a key, quoted or of letters, digits, underscores and hyphens.
func cutKey(s string) (name, rest string, ok bool) {
	if quoted, isQuoted := strings.CutPrefix(s, `"`); isQuoted {
		name, rest, ok = strings.Cut(quoted, `"`)
		return name, rest, ok && !strings.Contains(name, `\`)
	}
	end := strings.IndexFunc(s, func(r rune) bool { return !plainInKey(r) })
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:], end > 0
}

func plainInKey(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsNumber(r) || r == '_' || r == '-'
}

// String is the form under which two spellings of a path are one.
func (p path) String() string {
	var b strings.Builder
	for i, s := range p.steps {
		switch s.kind {
		case key:
			if i > 0 {
				b.WriteByte('.')
			}
			if _, rest, ok := cutKey(s.key); ok && rest == "" && !strings.HasPrefix(s.key, `"`) {
				b.WriteString(s.key)
			} else {
				b.WriteString(`"` + s.key + `"`)
			}
		case element:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case everyElement:
			b.WriteString("[]")
		}
	}
	return b.String()
}

// everyElementOf is the path to the elements of the array at p.
func (p path) everyElementOf() path {
	if p.steps[len(p.steps)-1].kind == everyElement {
		return p
	}
	return path{steps: append(p.steps[:len(p.steps):len(p.steps)], step{kind: everyElement})}
}

// values returns what p finds: nothing, one value or, through "[]", several.
func (p path) values(payload map[string]any) []any {
	if v, ok := p.single(payload); ok {
		return []any{v}
	}
	return collect(nil, p.steps, payload)
}

// single is the fast way to the value of a path of one key.
func (p path) single(payload map[string]any) (any, bool) {
	if len(p.steps) != 1 {
		return nil, false
	}
	v, ok := payload[p.steps[0].key]
	return v, ok
}

func collect(found []any, steps []step, value any) []any {
	if len(steps) == 0 {
		return append(found, value)
	}
	next, rest := steps[0], steps[1:]
	switch v := value.(type) {
	case map[string]any:
		if inner, ok := v[next.key]; ok && next.kind == key {
			return collect(found, rest, inner)
		}
	case []any:
		switch {
		case next.kind == everyElement:
			for _, inner := range v {
				found = collect(found, rest, inner)
			}
		case next.kind == element && next.index < len(v):
			return collect(found, rest, v[next.index])
		}
	}
	return found
}
