package embedder

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func field(num protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), value)
}

func externalTensor(location string) []byte {
	entry := slices.Concat(field(stringEntryKey, []byte("location")), field(stringEntryValue, []byte(location)))
	return field(tensorExternal, entry)
}

func externalModel(locations ...string) []byte {
	var graph []byte
	for _, l := range locations {
		graph = append(graph, field(graphInitializer, externalTensor(l))...)
	}
	// A constant in a branch of an If.
	branch := field(graphNode, field(nodeAttribute, field(attributeTensor, externalTensor("branch.bin"))))
	graph = append(graph, field(graphNode, field(nodeAttribute, field(attributeGraph, branch)))...)
	return slices.Concat(field(2, []byte("producer")), field(modelGraph, graph))
}

func TestScanModelListsExternalWeights(t *testing.T) {
	model := externalModel("b.data", "a.data", "b.data")
	sum, files, err := scanModel(bytes.NewReader(model))
	if err != nil {
		t.Fatal(err)
	}
	if sum != sha256.Sum256(model) {
		t.Error("the digest is not that of all bytes")
	}
	if want := []string{"a.data", "b.data", "branch.bin"}; !slices.Equal(files, want) {
		t.Errorf("files %v, want %v", files, want)
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.onnx")
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("model.onnx", externalModel("w.data"))
	if _, _, err := fingerprint(path); err == nil || !strings.Contains(err.Error(), "branch.bin") {
		t.Errorf("missing weights: %v", err)
	}
	write("w.data", []byte("w"))
	write("branch.bin", []byte("b"))
	_, data, err := fingerprint(path)
	if err != nil || len(data) != 2 || data[1].SHA256 != sha256.Sum256([]byte("w")) {
		t.Errorf("data %v, %v", data, err)
	}
	write("model.onnx", externalModel("../w.data"))
	if _, _, err := fingerprint(path); err == nil || !strings.Contains(err.Error(), "outside its folder") {
		t.Errorf("weights outside the folder: %v", err)
	}
	write("model.onnx", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
	if _, _, err := fingerprint(path); err == nil || !strings.Contains(err.Error(), "git lfs pull") {
		t.Errorf("a Git LFS pointer: %v", err)
	}
	for _, broken := range []string{"", "hello", string(externalModel("w.data")[:40])} {
		write("model.onnx", []byte(broken))
		if _, _, err := fingerprint(path); err == nil {
			t.Errorf("%q passed for a model", broken)
		}
	}
}

// inGraph is a model of one graph.
func inGraph(parts ...[]byte) []byte { return field(modelGraph, slices.Concat(parts...)) }

func operator(domain string, attributes ...[]byte) []byte {
	return field(graphNode, slices.Concat(append(attributes, field(nodeDomain, []byte(domain)))...))
}

// nested is an operator within as many graphs.
func nested(depth int) []byte {
	node := operator("")
	for range depth {
		node = field(graphNode, field(nodeAttribute, field(attributeGraph, node)))
	}
	return node
}

func TestOperatorsOfLibrariesAreRefused(t *testing.T) {
	function := field(modelFunction, slices.Concat(field(functionNode, slices.Concat(field(nodeDomain, []byte("com.microsoft")))), field(functionDomain, []byte("pkg.onnxscript"))))
	for name, tt := range map[string]struct {
		model []byte
		says  string // empty: it is read
	}{
		"standard":                   {inGraph(operator(""), operator("ai.onnx.ml"), operator("com.microsoft")), ""},
		"of a library":               {inGraph(operator(""), operator("ai.onnx.contrib")), `"ai.onnx.contrib"`},
		"of a library, in a branch":  {inGraph(field(graphNode, field(nodeAttribute, field(attributeGraphs, operator("evil"))))), `"evil"`},
		"of a library, in training":  {slices.Concat(inGraph(operator("")), field(modelTraining, field(trainingAlgorithm, operator("evil")))), `"evil"`},
		"of the model's functions":   {slices.Concat(inGraph(operator("pkg.onnxscript")), function), ""},
		"of others' functions":       {slices.Concat(inGraph(operator("pkg.other")), function), `"pkg.other"`},
		"of a library in a function": {slices.Concat(inGraph(operator("")), field(modelFunction, field(functionNode, field(nodeDomain, []byte("evil"))))), `"evil"`},
		"deep":                       {inGraph(nested(deepestGraph)), ""},
		"too deep":                   {inGraph(nested(deepestGraph + 1)), "graphs within graphs"},
		"very deep":                  {inGraph(nested(4000)), "graphs within graphs"},
	} {
		_, _, err := scanModel(bytes.NewReader(tt.model))
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

// Wherever weights may be named, the name is found.
func TestEveryPlaceOfExternalWeights(t *testing.T) {
	tensor := externalTensor("found")
	sparse := field(sparseValues, tensor)
	for name, model := range map[string][]byte{
		"initializer":        inGraph(field(graphInitializer, tensor)),
		"sparse initializer": inGraph(field(graphSparse, sparse)),
		"sparse indices":     inGraph(field(graphSparse, field(sparseIndices, tensor))),
		"attribute":          inGraph(field(graphNode, field(nodeAttribute, field(attributeTensor, tensor)))),
		"list of tensors":    inGraph(field(graphNode, field(nodeAttribute, field(attributeTensors, tensor)))),
		"sparse attribute":   inGraph(field(graphNode, field(nodeAttribute, field(attributeSparse, sparse)))),
		"sparse attributes":  inGraph(field(graphNode, field(nodeAttribute, field(attributeSparses, sparse)))),
		"branch":             inGraph(field(graphNode, field(nodeAttribute, field(attributeGraph, field(graphInitializer, tensor))))),
		"sparse in a branch": inGraph(field(graphNode, field(nodeAttribute, field(attributeGraph, field(graphSparse, sparse))))),
		"function":           slices.Concat(inGraph(), field(modelFunction, field(functionNode, field(nodeAttribute, field(attributeTensor, tensor))))),
		"function's default": slices.Concat(inGraph(), field(modelFunction, field(functionAttribute, field(attributeTensor, tensor)))),
		"training":           slices.Concat(inGraph(), field(modelTraining, field(trainingInit, field(graphInitializer, tensor)))),
	} {
		if _, files, err := scanModel(bytes.NewReader(model)); err != nil || !slices.Equal(files, []string{"found"}) {
			t.Errorf("%s: %q, %v", name, files, err)
		}
	}
}

// Weights are files of the model's folder, or of the cache that the model's
// own link leads to.
func TestWeightsStayBesideTheModel(t *testing.T) {
	for name, tt := range map[string]struct {
		location string
		links    map[string]string // name in the folder → target
		says     string            // empty: they are read
	}{
		"beside":                {"w.data", nil, ""},
		"in a folder":           {"sub/w.data", nil, ""},
		"above":                 {"../secret", nil, "outside its folder"},
		"above, by a detour":    {"sub/../../secret", nil, "outside its folder"},
		"absolute":              {"/etc/passwd", nil, "outside its folder"},
		"nothing":               {"", nil, "outside its folder"},
		"the folder itself":     {".", nil, "no file"},
		"a folder":              {"sub", nil, "no file"},
		"a link beside":         {"link", map[string]string{"link": "w.data"}, ""},
		"a link away":           {"link", map[string]string{"link": "../secret"}, "a link out of its folder"},
		"a link away, absolute": {"link", map[string]string{"link": "/etc/passwd"}, "a link out of its folder"},
		"a linked folder":       {"link/secret", map[string]string{"link": ".."}, "a link out of its folder"},
		"a link to itself":      {"link", map[string]string{"link": "link"}, "too many links"},
		"what never ends":       {"link", map[string]string{"link": "/dev/zero"}, "a link out of its folder"},
		"a cache's links":       {"link", map[string]string{"model.onnx": "../blobs/model", "link": "../blobs/weights"}, ""},
		"links past the cache":  {"link", map[string]string{"model.onnx": "../blobs/model", "link": "../secret"}, "a link out of its folder"},
	} {
		root := t.TempDir()
		write := func(name string, data []byte) {
			t.Helper()
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		model := inGraph(field(graphInitializer, externalTensor(tt.location)))
		for _, file := range []string{"secret", "blobs/weights", "model/w.data", "model/sub/w.data"} {
			write(file, []byte(file))
		}
		write("blobs/model", model)
		if tt.links["model.onnx"] == "" {
			write("model/model.onnx", model)
		}
		for link, target := range tt.links {
			if err := os.Symlink(target, filepath.Join(root, "model", link)); err != nil {
				t.Fatal(err)
			}
		}
		_, data, err := fingerprint(filepath.Join(root, "model", "model.onnx"))
		if tt.says == "" && (err != nil || len(data) != 1) || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, %v, want %q", name, data, err, tt.says)
		}
	}
}

func TestPinnedFiles(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{"onnx/model.onnx": inGraph(field(graphInitializer, externalTensor("w.data"))), "onnx/w.data": []byte("w"), "tokenizer.json": []byte("{}")}
	var pins []string
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		pins = append(pins, fmt.Sprintf("%s=%x", name, sha256.Sum256(data)))
	}
	slices.Sort(pins)
	f := folder{onnx: filepath.Join(dir, "onnx", "model.onnx"), tokenizer: filepath.Join(dir, "tokenizer.json")}
	other := fmt.Sprintf("=%x", sha256.Sum256([]byte("another")))
	for name, tt := range map[string]struct {
		pins []string
		says string // empty: the model is taken
	}{
		"nothing pinned":     {nil, ""},
		"all":                {pins, ""},
		"another model":      {[]string{"onnx/model.onnx" + other, pins[1], pins[2]}, "onnx/model.onnx is not the file that is pinned"},
		"other weights":      {[]string{pins[0], "onnx/w.data" + other, pins[2]}, "onnx/w.data is not the file"},
		"another tokenizer":  {[]string{pins[0], pins[1], "tokenizer.json" + other}, "tokenizer.json is not the file"},
		"weights not pinned": {[]string{pins[0], pins[2]}, "onnx/w.data is used and not pinned"},
		"one too many":       {append(slices.Clone(pins), "more.data"+other), "more.data is pinned, and the model does not use it"},
	} {
		cfg := DefaultConfig()
		cfg.FilesSHA256 = tt.pins
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		_, err := cfg.contentsOf(dir, f)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	for _, broken := range []string{"model.onnx", "=" + other, "model.onnx=abc", "model.onnx" + other + "00", "model.onnx=" + strings.Repeat("g", 64)} {
		cfg := DefaultConfig()
		cfg.FilesSHA256 = []string{broken}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "files_sha256") {
			t.Errorf("%q: %v", broken, err)
		}
	}
}

// A pinned model is refused before ONNX Runtime, or a tokenizer, reads a file.
func TestAModelThatIsNotThePinnedOne(t *testing.T) {
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	cfg := DefaultConfig()
	cfg.ModelDir = "testdata/tiny"
	for _, name := range []string{"model.onnx", "tokenizer.json"} {
		digest, err := hashFile(filepath.Join(cfg.ModelDir, name))
		if err != nil {
			t.Fatal(err)
		}
		cfg.FilesSHA256 = append(cfg.FilesSHA256, fmt.Sprintf("%s=%x", name, digest))
	}
	e, err := NewONNX(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	cfg.FilesSHA256[0] = cfg.FilesSHA256[0][:len(cfg.FilesSHA256[0])-2] + "00"
	cfg.FilesSHA256[1] = cfg.FilesSHA256[1][:len(cfg.FilesSHA256[1])-2] + "00"
	if _, err := NewONNX(cfg, nil, nil); err == nil || !strings.Contains(err.Error(), "model.onnx is not the file") || !strings.Contains(err.Error(), "tokenizer.json is not the file") {
		t.Errorf("with other pins: %v", err)
	}
}

func TestFilesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := readBounded(path, 10); err != nil || len(data) != 10 {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := readBounded(path, 9); err == nil {
		t.Error("more than the bound was read")
	}
	if _, err := readBounded("/dev/zero", 10); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("/dev/zero: %v", err)
	}
}

func FuzzScanModel(f *testing.F) {
	f.Add(externalModel("a.data"))
	f.Add(inGraph(operator("evil"), nested(3), field(graphSparse, field(sparseValues, externalTensor("s")))))
	f.Add(field(modelFunction, field(functionNode, field(nodeDomain, []byte("d")))))
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		sum, _, err := scanModel(bytes.NewReader(data))
		if err == nil && sum != sha256.Sum256(data) {
			t.Error("the digest is not that of all bytes")
		}
	})
}
