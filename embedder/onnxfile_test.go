package embedder

import (
	"bytes"
	"crypto/sha256"
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
	return field(tensorExternalData, entry)
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

func FuzzScanModel(f *testing.F) {
	f.Add(externalModel("a.data"))
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		sum, _, err := scanModel(bytes.NewReader(data))
		if err == nil && sum != sha256.Sum256(data) {
			t.Error("the digest is not that of all bytes")
		}
	})
}
