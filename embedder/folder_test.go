package embedder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lay writes files into a new folder that holds a model and a tokenizer.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"model.onnx": "", "tokenizer.json": "{}"}
	for name, data := range files {
		all[name] = data
	}
	for name, data := range all {
		path := filepath.Join(dir, name)
		if data == "-" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadFolder(t *testing.T) {
	for name, c := range map[string]struct {
		files     map[string]string
		pooling   Pooling
		maxTokens int
	}{
		"bare": {nil, PoolMean, 0},
		"transformers": {map[string]string{
			"config.json": `{"max_position_embeddings":512,"hidden_size":8}`, "tokenizer_config.json": `{"model_max_length":1e30}`,
		}, PoolMean, 512},
		"roberta counts from 2": {map[string]string{"config.json": `{"max_position_embeddings":514,"model_type":"roberta"}`}, PoolMean, 512},
		"the tokenizer's maximum": {map[string]string{
			"config.json": `{"max_position_embeddings":512}`, "tokenizer_config.json": `{"model_max_length":128}`,
		}, PoolMean, 128},
		"sentence-transformers": {map[string]string{
			"config.json": `{"max_position_embeddings":512}`, "sentence_bert_config.json": `{"max_seq_length":256}`,
			"1_Pooling/config.json": `{"word_embedding_dimension":8,"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}`,
		}, PoolCLS, 256},
		"no maximum said": {map[string]string{
			"config.json": `{"max_position_embeddings":512}`, "sentence_bert_config.json": `{"max_seq_length":null}`,
		}, PoolMean, 512},
		"pooling elsewhere": {map[string]string{
			"modules.json":     `[{"type":"sentence_transformers.models.Transformer","path":""},{"type":"sentence_transformers.models.Pooling","path":"p"}]`,
			"p/config.json":    `{"pooling_mode_lasttoken":true}`,
			"onnx/model.onnx":  "",
			"model.onnx":       "-",
			"irrelevant.files": "",
		}, PoolLast, 0},
	} {
		f, err := readFolder(lay(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		maxTokens, _ := f.maxTokensFor(0)
		if p := f.poolingFor(PoolAuto); p != c.pooling || maxTokens != c.maxTokens {
			t.Errorf("%s: pooling %s, max tokens %d", name, p, maxTokens)
		}
		if f.poolingFor(PoolCLS) != PoolCLS {
			t.Errorf("%s: the configured pooling does not win", name)
		}
	}
}

func TestReadFolderRefuses(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"no model.onnx":          {"model.onnx": "-"},
		"no tokenizer.json":      {"tokenizer.json": "-"},
		"config.json":            {"config.json": "{"},
		"a Dense layer":          {"modules.json": `[{"type":"sentence_transformers.models.Dense","path":"2_Dense"}]`},
		"outside the folder":     {"modules.json": `[{"type":"x.Pooling","path":"../p"}]`},
		"pooling_mode_max_token": {"1_Pooling/config.json": `{"pooling_mode_max_tokens":true}`},
		" and pooling_mode_":     {"1_Pooling/config.json": `{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true}`},
	} {
		if _, err := readFolder(lay(t, files)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestMaxTokensFor(t *testing.T) {
	f := folder{maxTokens: 256, positions: 512}
	if n, err := f.maxTokensFor(300); n != 300 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := f.maxTokensFor(513); err == nil {
		t.Error("more tokens than positions were allowed")
	}
	if _, err := (&folder{}).maxTokensFor(0); err == nil {
		t.Error("an unknown maximum was guessed")
	}
}
