package main

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

// passage is one chunk of a demo corpus.
type passage struct {
	document, chunk string
	position        int
	text            string
	metadata        map[string]any
}

// goDocs takes n passages from the documentation comments of the Go standard
// library, spread evenly over its packages: a document is a package, a chunk
// is a symbol. The order is that of import paths and of the source.
func goDocs(ctx context.Context, n int) ([]passage, error) {
	root, err := goRoot(ctx)
	if err != nil {
		return nil, err
	}
	var all []passage
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
	if n > len(all) {
		return nil, usagef("--chunks %d: the standard library's documentation has %d chunks", n, len(all))
	}
	picked := make([]passage, n)
	for i := range picked {
		picked[i] = all[i*len(all)/n]
	}
	return picked, nil
}

func goRoot(ctx context.Context) (string, error) {
	if root := os.Getenv("GOROOT"); root != "" {
		return root, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find the Go standard library, which is the demo's corpus (install Go, or set GOROOT): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func packageDocs(dir, path string) ([]passage, error) {
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
	passages []passage
}

func (c *collector) add(kind, symbol, text string) {
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	c.passages = append(c.passages, passage{
		document: c.document, chunk: symbol, position: len(c.passages), text: text,
		metadata: map[string]any{"kind": kind},
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
