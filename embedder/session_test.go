package embedder

import (
	"slices"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"
)

func port(name string, kind ort.TensorElementDataType, dims ...int64) ort.InputOutputInfo {
	return ort.InputOutputInfo{Name: name, OrtValueType: ort.ONNXTypeTensor, DataType: kind, Dimensions: dims}
}

const (
	i64 = ort.TensorElementDataTypeInt64
	i32 = ort.TensorElementDataTypeInt32
	f32 = ort.TensorElementDataTypeFloat
	f16 = ort.TensorElementDataTypeFloat16
)

func TestUnderstand(t *testing.T) {
	ids, mask := port("input_ids", i64, -1, -1), port("attention_mask", i64, -1, -1)
	tokens, sentence := port("last_hidden_state", f32, -1, -1, 384), port("sentence_embedding", f32, -1, 384)
	for name, c := range map[string]struct {
		in, out []ort.InputOutputInfo
		hidden  int
		want    signature
		refused string
	}{
		"BERT":              {in: []ort.InputOutputInfo{ids, mask, port("token_type_ids", i64, -1, -1)}, out: []ort.InputOutputInfo{tokens}, want: signature{inputs: []string{"input_ids", "attention_mask", "token_type_ids"}, output: "last_hidden_state", hidden: 384}},
		"no types":          {in: []ort.InputOutputInfo{mask, ids}, out: []ort.InputOutputInfo{tokens, port("pooler_output", f32, -1, 384)}, want: signature{inputs: []string{"attention_mask", "input_ids"}, output: "last_hidden_state", hidden: 384}},
		"both outputs":      {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{sentence, port("token_embeddings", f32, -1, -1, 8)}, want: signature{inputs: []string{"input_ids"}, output: "token_embeddings", hidden: 8}},
		"pooled":            {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{sentence}, want: signature{inputs: []string{"input_ids"}, output: "sentence_embedding", pooled: true, hidden: 384}},
		"any only output":   {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{port("1234", f32, -1, -1, 8)}, want: signature{inputs: []string{"input_ids"}, output: "1234", hidden: 8}},
		"size from config":  {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{port("last_hidden_state", f32, -1, -1, -1)}, hidden: 16, want: signature{inputs: []string{"input_ids"}, output: "last_hidden_state", hidden: 16}},
		"size unknown":      {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{port("last_hidden_state", f32, -1, -1, -1)}, refused: "config.json"},
		"float16":           {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{port("last_hidden_state", f16, -1, -1, 8)}, refused: "float16"},
		"two of a kind":     {in: []ort.InputOutputInfo{ids}, out: []ort.InputOutputInfo{port("a", f32, -1, -1, 8), port("b", f32, -1, -1, 8)}, refused: "no output is"},
		"a decoder's cache": {in: []ort.InputOutputInfo{ids, port("past_key_values.0.key", f32, -1, 2, -1, 8)}, out: []ort.InputOutputInfo{tokens}, refused: "past_key_values.0.key"},
		"int32":             {in: []ort.InputOutputInfo{port("input_ids", i32, -1, -1)}, out: []ort.InputOutputInfo{tokens}, refused: "not int64"},
		"fixed shape":       {in: []ort.InputOutputInfo{port("input_ids", i64, 1, 128)}, out: []ort.InputOutputInfo{tokens}, refused: "dynamic axes"},
		"no ids":            {in: []ort.InputOutputInfo{mask}, out: []ort.InputOutputInfo{tokens}, refused: "no input input_ids"},
	} {
		got, err := understand(c.in, c.out, c.hidden)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), c.in[0].Name) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got.inputs, c.want.inputs) || got.output != c.want.output || got.pooled != c.want.pooled || got.hidden != c.want.hidden {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
