// Configdoc writes docs/CONFIG.md: every setting with its type, its default,
// its environment variable, and what the code and configs/reference.yaml say of
// it. The settings are those that configs.Config has, so that none is missing;
// what a setting means is told once, in the comment of its field.
//
// It fails on a field without a comment, and on a comment that only a reader
// of the code would understand. A test holds the file current.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "the folder of go.mod")
	out := flag.String("o", "docs/CONFIG.md", "the file to write, below it")
	flag.Parse()
	page, err := render(*root)
	if err == nil {
		err = os.WriteFile(filepath.Join(*root, *out), page, 0o644) //nolint:gosec // a page for everybody to read
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}
