package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

const module = "chunktide/"

// structComments is what the code says of a struct and its fields, as Go's doc
// comments, by the names that Go has for them.
type structComments struct {
	own    string
	fields map[string]string
}

// library reads the comments of struct types, each package once.
type library struct {
	root     string
	packages map[string]map[string]structComments
}

func newLibrary(root string) *library {
	return &library{root: root, packages: map[string]map[string]structComments{}}
}

// of returns the comments of a struct type of this module.
func (l *library) of(t reflect.Type) (structComments, error) {
	structs, ok := l.packages[t.PkgPath()]
	if !ok {
		var err error
		if structs, err = readPackage(filepath.Join(l.root, strings.TrimPrefix(t.PkgPath(), module))); err != nil {
			return structComments{}, err
		}
		l.packages[t.PkgPath()] = structs
	}
	found, ok := structs[t.Name()]
	if !ok {
		return structComments{}, fmt.Errorf("%s has no struct %s", t.PkgPath(), t.Name())
	}
	return found, nil
}

func readPackage(dir string) (map[string]structComments, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	structs := map[string]structComments{}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, entry.Name()), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				readTypes(g, structs)
			}
		}
	}
	return structs, nil
}

func readTypes(g *ast.GenDecl, structs map[string]structComments) {
	for _, spec := range g.Specs {
		named, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		if body, ok := named.Type.(*ast.StructType); ok {
			own := named.Doc
			if own == nil {
				own = g.Doc
			}
			structs[named.Name.Name] = structComments{own.Text(), fieldComments(body)}
		}
	}
}

// fieldComments gives a field without a comment that of the field before it,
// where that speaks of both.
func fieldComments(body *ast.StructType) map[string]string {
	fields, before := map[string]string{}, ""
	for _, f := range body.Fields.List {
		for _, name := range f.Names {
			text := f.Doc.Text()
			if text == "" && mentions(before, name.Name) {
				text = before
			}
			fields[name.Name], before = text, text
		}
	}
	return fields
}

func mentions(text, name string) bool {
	return regexp.MustCompile(`\b` + name + `\b`).MatchString(text)
}

// goLink is how a doc comment refers to Go's own names.
var goLink = regexp.MustCompile(`\[[A-Z*][\w.]*\]`)

// markdown turns a doc comment into Markdown, one line a paragraph. names maps
// the names that Go has for things to those that settings have.
func markdown(text string, names map[string]string) (string, error) {
	if text == "" {
		return "", errors.New("there is no comment")
	}
	if link := goLink.FindString(text); link != "" {
		return "", fmt.Errorf("the comment refers to %s: say it in words", link)
	}
	var blocks []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(block, "\t") { // code
			blocks = append(blocks, strings.ReplaceAll(block, "\t", "    "))
			continue
		}
		blocks = append(blocks, prose(strings.ReplaceAll(block, "\n", " "), names))
	}
	return strings.Join(blocks, "\n\n"), nil
}

// snakeCase is what is a setting's value or key, or a payload's.
var snakeCase = regexp.MustCompile("(^|[^`\\w/.])([a-z0-9]+(?:_[a-z0-9]+)+)")

// prose puts the settings' names in place of Go's.
func prose(text string, names map[string]string) string {
	text = snakeCase.ReplaceAllString(text, "$1`$2`")
	text = strings.ReplaceAll(text, "<", "&lt;")
	for name, key := range names {
		text = regexp.MustCompile(`^`+name+`([^\w-]|$)`).ReplaceAllString(text, "`"+key+"`$1")
		text = named(name).ReplaceAllString(text, "$1`"+key+"`$2")
	}
	return text
}

// named finds a name within a text. One that is a word as well counts within a
// sentence only, and an abbreviation (TLS) nowhere.
func named(name string) *regexp.Regexp {
	switch {
	case regexp.MustCompile(`[a-z][A-Z]`).MatchString(name):
		return regexp.MustCompile("(^|[^`\\w])" + name + `(\W|$)`)
	case strings.ToUpper(name) == name:
		return regexp.MustCompile(`$^`) // nothing
	default:
		return regexp.MustCompile(`([a-z,;] )` + name + `([^\w-]|$)`)
	}
}
