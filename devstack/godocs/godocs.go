// Package godocs is a real corpus that every machine with Go has: the
// documentation of the standard library. The demo and the benches encode it.
package godocs

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Passage is one chunk: a document is a package, a chunk is a symbol.
type Passage struct {
	Document, Chunk string
	Position        int
	Text            string
	Metadata        map[string]any
}

// Take returns n passages, spread evenly over all that there are. A Go of one
// version has always the same ones, in the same order, which is that of import
// paths and of the source. It needs Go's source: GOROOT, or go on the PATH.
func Take(ctx context.Context, n int) ([]Passage, error) {
	all, err := All(ctx)
	if err != nil {
		return nil, err
	}
	if n > len(all) {
		return nil, fmt.Errorf("%d passages are wanted: the standard library's documentation has %d", n, len(all))
	}
	picked := make([]Passage, n)
	for i := range picked {
		picked[i] = all[i*len(all)/n]
	}
	return picked, nil
}

// All returns every passage; see [Take].
func All(ctx context.Context) ([]Passage, error) {
	root, err := goRoot(ctx)
	if err != nil {
		return nil, err
	}
	var all []Passage
	src := filepath.Join(root, "src")
	err = filepath.WalkDir(src, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch name := d.Name(); {
		case slices.Contains([]string{"internal", "vendor", "testdata", "cmd", "builtin"}, name), name[0] == '_', name[0] == '.':
			return fs.SkipDir
		}
		path, err := filepath.Rel(src, dir)
		if err != nil {
			return err
		}
		found, err := packageDocs(dir, filepath.ToSlash(path))
		all = append(all, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the Go standard library under %s: %w", src, err)
	}
	return all, nil
}

func goRoot(ctx context.Context) (string, error) {
	if root := os.Getenv("GOROOT"); root != "" {
		return root, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find the Go standard library, whose documentation is the corpus (install Go, or set GOROOT): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func packageDocs(dir, path string) ([]Passage, error) {
	pkg, err := build.ImportDir(dir, 0)
	var none *build.NoGoError
	switch {
	case errors.As(err, &none):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("package %s: %w", path, err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range slices.Concat(pkg.GoFiles, pkg.CgoFiles) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", path, err)
		}
		files = append(files, f)
	}
	docs, err := doc.NewFromFiles(fset, files, path)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", path, err)
	}
	c := collector{document: path}
	c.add("package", "package", docs.Doc)
	c.values("const", docs.Consts)
	c.values("var", docs.Vars)
	c.funcs("func", "", docs.Funcs)
	for _, t := range docs.Types {
		c.add("type", t.Name, t.Doc)
		c.values("const", t.Consts)
		c.values("var", t.Vars)
		c.funcs("func", "", t.Funcs)
		c.funcs("method", t.Name+".", t.Methods)
	}
	return c.passages, nil
}

// collector gathers the passages of one package.
type collector struct {
	document string
	passages []Passage
}

func (c *collector) add(kind, symbol, text string) {
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	c.passages = append(c.passages, Passage{
		Document: c.document, Chunk: symbol, Position: len(c.passages), Text: text,
		Metadata: map[string]any{"kind": kind},
	})
}

func (c *collector) values(kind string, values []*doc.Value) {
	for _, v := range values {
		c.add(kind, v.Names[0], v.Doc)
	}
}

func (c *collector) funcs(kind, receiver string, funcs []*doc.Func) {
	for _, f := range funcs {
		c.add(kind, receiver+f.Name, f.Doc)
	}
}
