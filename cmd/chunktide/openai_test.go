package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"chunktide/configs"
	"chunktide/embedder"
)

// openaiPython is the Python that has the OpenAI client.
func openaiPython(t *testing.T) string {
	t.Helper()
	if testing.Short() || os.Getenv("CHUNKTIDE_TEST_REAL") == "0" {
		t.Skip("-short and CHUNKTIDE_TEST_REAL=0 leave out the OpenAI client")
	}
	python, err := filepath.Abs(filepath.Join("..", "..", ".cache", "openai", "bin", "python"))
	if err == nil {
		_, err = os.Stat(python)
	}
	if err != nil {
		t.Fatalf("this test needs the OpenAI client (CHUNKTIDE_TEST_REAL=0 leaves it out): run `python3 tools/openai/setup.py`, or make test: %v", err)
	}
	return python
}

type failure struct {
	Class  string
	Status int
	Code   string
}

// The official client, as it is: what it gets are the encoder's own vectors,
// by the recipe of the index behind the alias.
func TestTheOpenAIClient(t *testing.T) {
	python := openaiPython(t)
	settings := append(stack(t), "embedder.encoder=onnx", "embedder.model_name=minilm", "kafka.stop_at_end=true")
	if code, _, errs := command(t, `{"op":"upsert","document_id":"d","chunk_id":"c","text":"hello","version":1}`, withSettings(settings, "publish")...); code != exitDone {
		t.Fatal(errs)
	}
	if code, _, errs := command(t, "", withSettings(settings, "run")...); code != exitDone {
		t.Fatal(errs)
	}
	settings = append(settings, "embedder.prefix=", "serve.api_key=hunter2")
	url := served(t, "", settings...)

	texts := []string{"how do I reset my password?", "Ünïcödé — 日本語 🙂", "a third one"}
	input, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("..", "..", "tools", "openai", "client.py"), url, "chunks", "hunter2")
	cmd.Stdin = bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the client failed: %v\n%s", err, errs.String())
	}
	var got struct {
		Version, Model, Retrieved string
		Tokens                    int
		Default, Float, Documents [][]float32
		Single                    []float32
		ByTokens                  [][]float32 `json:"by_tokens"`
		Models                    []string
		NoModel                   failure `json:"no_model"`
		NoInput                   failure `json:"no_input"`
		NoKey                     failure `json:"no_key"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}

	cfg, err := configs.Load("", settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := embedder.New(t.Context(), cfg.Embedder, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	version := encoder.Recipe().ModelVersion()
	tokens := 0
	for i, text := range texts {
		want, err := encoder.EncodeQuery(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		tokens += want.Tokens
		for name, v := range map[string][]float32{"base64": got.Default[i], "float": got.Float[i], "documents": got.Documents[i]} {
			if !slices.Equal(v, want.Vector) {
				t.Errorf("%s: vector %d is not the encoder's", name, i)
			}
		}
	}
	if !slices.Equal(got.Single, got.Default[0]) || len(got.ByTokens) != 2 || slices.Equal(got.ByTokens[0], got.ByTokens[1]) {
		t.Error("a single text, or the lists of tokens, came out wrong")
	}
	if got.Version != version || got.Model != version || got.Retrieved != version || got.Tokens != tokens || !slices.Equal(got.Models, []string{version, "chunks"}) {
		t.Errorf("version %q, model %q, retrieved %q, models %q; want %q. %d tokens, want %d", got.Version, got.Model, got.Retrieved, got.Models, version, got.Tokens, tokens)
	}
	for want, f := range map[failure]failure{
		{"NotFoundError", 404, "model_not_found"}:       got.NoModel,
		{"BadRequestError", 400, "invalid_value"}:       got.NoInput,
		{"AuthenticationError", 401, "invalid_api_key"}: got.NoKey,
	} {
		if f != want {
			t.Errorf("the client raised %+v, want %+v", f, want)
		}
	}
}
