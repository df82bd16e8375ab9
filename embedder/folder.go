package embedder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folder is what the files beside a model say about it. Zero means "not
// said".
type folder struct {
	onnx      string // path of model.onnx
	tokenizer string // path of tokenizer.json
	pooling   Pooling
	maxTokens int
	positions int // the most tokens that the model has places for
	hidden    int
	vocab     int
	prompts   map[string]string // sentence-transformers' named prefixes
}

// readFolder reads a model's folder in the layouts of the usual exporters:
// transformers' config.json and tokenizer_config.json, and sentence-transformers'
// modules.json with the files it names.
func readFolder(dir string) (folder, error) {
	f := folder{tokenizer: filepath.Join(dir, "tokenizer.json")}
	for _, path := range []string{filepath.Join(dir, "model.onnx"), filepath.Join(dir, "onnx", "model.onnx")} {
		if _, err := os.Stat(path); err == nil {
			f.onnx = path
			break
		}
	}
	if f.onnx == "" {
		return f, fmt.Errorf("model_dir: no model.onnx in %s: export the model to ONNX there, or run `make setup` for the default one", dir)
	}
	if _, err := os.Stat(f.tokenizer); err != nil {
		return f, fmt.Errorf("model_dir: no tokenizer.json beside the model: save the tokenizer in its fast form: %w", err)
	}
	if err := f.readTransformers(dir); err != nil {
		return f, fmt.Errorf("model_dir: %w", err)
	}
	if err := f.readSentenceTransformers(dir); err != nil {
		return f, fmt.Errorf("model_dir: %w", err)
	}
	return f, nil
}

func (f *folder) readTransformers(dir string) error {
	var model struct {
		Hidden    int    `json:"hidden_size"`
		Dim       int    `json:"dim"` // DistilBERT's name for it
		Vocab     int    `json:"vocab_size"`
		Positions int    `json:"max_position_embeddings"`
		Type      string `json:"model_type"`
	}
	if err := readJSON(dir, "config.json", &model); err != nil {
		return err
	}
	f.hidden, f.vocab, f.positions = model.Hidden, model.Vocab, model.Positions
	if f.hidden == 0 {
		f.hidden = model.Dim
	}
	switch model.Type {
	case "roberta", "xlm-roberta", "camembert", "mpnet":
		f.positions = max(f.positions-2, 0) // they number positions from 2
	}
	var tokenizer struct {
		// Often 1e30, for "any": a float.
		Max float64 `json:"model_max_length"`
	}
	if err := readJSON(dir, "tokenizer_config.json", &tokenizer); err != nil {
		return err
	}
	f.maxTokens = f.positions
	if tokenizer.Max >= 1 && tokenizer.Max < 1<<24 && (f.maxTokens == 0 || int(tokenizer.Max) < f.maxTokens) {
		f.maxTokens = int(tokenizer.Max)
	}
	return nil
}

func (f *folder) readSentenceTransformers(dir string) error {
	var sentence struct {
		Max *int `json:"max_seq_length"`
	}
	if err := readJSON(dir, "sentence_bert_config.json", &sentence); err != nil {
		return err
	}
	if sentence.Max != nil && *sentence.Max > 0 {
		f.maxTokens = *sentence.Max
		if f.positions > 0 {
			f.maxTokens = min(f.maxTokens, f.positions)
		}
	}
	var prompts struct {
		Prompts map[string]string `json:"prompts"`
	}
	if err := readJSON(dir, "config_sentence_transformers.json", &prompts); err != nil {
		return err
	}
	f.prompts = prompts.Prompts

	var modules []struct {
		Path string `json:"path"`
		Type string `json:"type"`
	}
	if err := readJSON(dir, "modules.json", &modules); err != nil {
		return err
	}
	pooling := "1_Pooling"
	for _, m := range modules {
		kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		switch kind {
		case "Pooling":
			pooling = m.Path
		case "Transformer", "Normalize":
		default:
			// Its weights are not in the graph: the vectors would be other ones.
			return fmt.Errorf("modules.json names a %s layer, which is not applied here: export the whole pipeline as one graph "+
				"with an output sentence_embedding, and leave modules.json out of that folder", kind)
		}
	}
	if !filepath.IsLocal(pooling) {
		return fmt.Errorf("modules.json: the pooling's path %q lies outside the folder", pooling)
	}
	return f.readPooling(dir, filepath.Join(pooling, "config.json"))
}

func (f *folder) readPooling(dir, name string) error {
	modes := map[string]any{}
	if err := readJSON(dir, name, &modes); err != nil {
		return err
	}
	known := map[string]Pooling{
		"pooling_mode_cls_token":   PoolCLS,
		"pooling_mode_mean_tokens": PoolMean,
		"pooling_mode_lasttoken":   PoolLast,
	}
	var on []string
	for key, value := range modes {
		if yes, _ := value.(bool); yes && strings.HasPrefix(key, "pooling_mode_") {
			on = append(on, key)
			f.pooling = known[key]
		}
	}
	if len(on) > 1 || len(on) == 1 && f.pooling == "" {
		return fmt.Errorf("%s asks for %s; known are mean, cls and last, one at a time", name, strings.Join(on, " and "))
	}
	return nil
}

// largestSettings bounds a file of settings beside a model.
const largestSettings = 16 << 20

// readJSON reads an optional file: without it, v stays as it is.
func readJSON(dir, name string, v any) error {
	data, err := readBounded(filepath.Join(dir, name), largestSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// poolingFor is the pooling to use when cfg says want.
func (f *folder) poolingFor(want Pooling) Pooling {
	switch {
	case want != PoolAuto:
		return want
	case f.pooling != "":
		return f.pooling
	default:
		return PoolMean
	}
}

// maxTokensFor is the most tokens of a text when cfg says want.
func (f *folder) maxTokensFor(want int) (int, error) {
	switch {
	case want == 0 && f.maxTokens == 0:
		return 0, errors.New("max_tokens: the model's files do not say how much it reads, so say it here")
	case want == 0:
		return f.maxTokens, nil
	case f.positions > 0 && want > f.positions:
		return 0, fmt.Errorf("max_tokens: %d is more than the model has positions for, %d", want, f.positions)
	default:
		return want, nil
	}
}
