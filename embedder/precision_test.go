package embedder

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func openAt(t testing.TB, dir string, change func(*Config)) *ONNX {
	t.Helper()
	return open(t, func(c *Config) {
		c.ModelDir = dir
		if change != nil {
			change(c)
		}
	})
}

// besideDefault is the folder of another precision of the default model;
// `make precisions` fetches them.
func besideDefault(t testing.TB, suffix string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs what `make precisions` fetches")
	}
	dir, err := FindModel("")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(dir), DefaultModel+suffix)
}

func openTinyInt8(t testing.TB, change func(*Config)) *ONNX {
	t.Helper()
	return openAt(t, "testdata/tiny-int8", change)
}

func openFP16(t testing.TB, change func(*Config)) *ONNX {
	t.Helper()
	return openAt(t, besideDefault(t, "-fp16"), change)
}

func openInt8(t testing.TB, change func(*Config)) *ONNX {
	t.Helper()
	return openAt(t, besideDefault(t, "-int8"), change)
}

// Each precision is a recipe of its own, near the full one. The bounds are
// loose; `chunktide model compare` measures.
func TestPrecisionsAreRecipesOfTheirOwn(t *testing.T) {
	type line struct {
		Text   string
		Vector []float64
	}
	lines := readLines[line](t, "minilm-l6-v2-embeddings.jsonl")
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.Text
	}
	for suffix, want := range map[string]struct {
		version string
		cosine  float64
	}{
		"-fp16": {"all-MiniLM-L6-v2-fp16@77b8c7f1cd95", 0.9999},
		"-int8": {"all-MiniLM-L6-v2-int8@41e648f17a23", 0.99},
	} {
		e := openAt(t, besideDefault(t, suffix), nil)
		if got := e.Recipe().ModelVersion(); got != want.version {
			t.Errorf("model_version %s, want %s", got, want.version)
		}
		worst := 1.0
		for i, got := range encode(t, e, texts...) {
			worst = min(worst, cosine(got.Vector, lines[i].Vector))
		}
		if worst < want.cosine {
			t.Errorf("%s: worst cosine %.6f", want.version, worst)
		}
		t.Logf("%s: worst cosine of %d texts %.6f", want.version, len(texts), worst)
	}
}

// Processors without VNNI add two neighbouring products of 8 bits in 16 bits
// and cut off what does not fit, so the same model would give other vectors
// there. No activations may bring these weights that far.
func TestInt8CannotOverflow(t *testing.T) {
	checked := 0
	for _, dir := range []string{"testdata/tiny-int8", besideDefault(t, "-int8")} {
		model, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		err = each(model, func(num protowire.Number, graph []byte) error {
			if num != modelGraph {
				return nil
			}
			return each(graph, func(num protowire.Number, tensor []byte) error {
				if num != graphInitializer {
					return nil
				}
				dims, weights := int8Tensor(tensor)
				if len(dims) != 2 {
					return nil
				}
				checked++
				return neighbours(weights, int(dims[0]), int(dims[1]))
			})
		})
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if want := (2 + 6) * 4; checked != want {
		t.Errorf("%d tables of int8 weights, want %d: query and key, output, and both wide ones in each layer", checked, want)
	}
	// The control: full-range weights do overflow.
	if neighbours([]int8{127, 1, 127, 0}, 2, 2) == nil || neighbours([]int8{-100, 0, -60, 0}, 2, 2) == nil {
		t.Error("weights that overflow were not noticed")
	}
}

// int8Tensor is an initializer of int8, row by row; other ones have no dims.
func int8Tensor(b []byte) (dims []uint64, values []int8) {
	const tensorDims, tensorType, tensorRaw, typeInt8 = 1, 2, 9, 3
	is := false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		b = b[n:]
		size := protowire.ConsumeFieldValue(num, typ, b)
		switch num {
		case tensorDims:
			v, _ := protowire.ConsumeVarint(b)
			dims = append(dims, v)
		case tensorType:
			v, _ := protowire.ConsumeVarint(b)
			is = v == typeInt8
		case tensorRaw:
			raw, _ := protowire.ConsumeBytes(b)
			if is {
				for _, c := range raw {
					values = append(values, int8(c))
				}
			}
		default:
		}
		b = b[size:]
	}
	if !is {
		return nil, nil
	}
	return dims, values
}

// neighbours looks for two weights, one below the other, whose products with
// bytes can leave the 16 bits of a signed integer.
func neighbours(weights []int8, rows, columns int) error {
	for row := 0; row+1 < rows; row += 2 {
		for col := range columns {
			a, b := int(weights[row*columns+col]), int(weights[(row+1)*columns+col])
			up, down := 255*(max(a, 0)+max(b, 0)), 255*(min(a, 0)+min(b, 0))
			if up > 1<<15-1 || down < -1<<15 {
				return fmt.Errorf("weights %d and %d of output %d, at input %d, can overflow", a, b, col, row)
			}
		}
	}
	return nil
}

// A model's precision must not be mistaken for another's by the cache or the
// index: the model's digest keeps them apart.
func TestPrecisionsHaveOtherDigests(t *testing.T) {
	var seen []string
	for _, dir := range []string{"testdata/tiny", "testdata/tiny-int8"} {
		seen = append(seen, openAt(t, dir, func(c *Config) { c.ModelName = "tiny" }).Recipe().ModelVersion())
	}
	if seen[0] == seen[1] {
		t.Errorf("both are %s", seen[0])
	}
	if v := encode(t, openAt(t, "testdata/tiny-int8", nil), "the vector index", "a chunk of the index"); slices.Equal(v[0].Vector, v[1].Vector) {
		t.Error("two texts have one vector")
	}
}
