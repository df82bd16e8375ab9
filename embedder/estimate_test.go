package embedder

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The estimate against the real model's tokenizer, on texts of many scripts.
func TestEstimateTokens(t *testing.T) {
	file, err := os.Open("tokenizer/testdata/minilm-l6-v2-tokens.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var estimated, exact int
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var golden struct {
			Text string  `json:"text"`
			IDs  []int64 `json:"ids"`
		}
		if err := json.Unmarshal(lines.Bytes(), &golden); err != nil {
			t.Fatal(err)
		}
		n := Recipe{}.EstimateTokens(golden.Text)
		if len(golden.Text) > 0 && n == 0 {
			t.Errorf("%q takes no token", golden.Text)
		}
		estimated, exact = estimated+n, exact+len(golden.IDs)
	}
	if exact == 0 || estimated*3 < exact*2 || estimated*2 > exact*3 {
		t.Errorf("estimated %d tokens, the model reads %d", estimated, exact)
	}
}

func TestEstimateStopsWhereTheModelStopsReading(t *testing.T) {
	if n := (Recipe{MaxTokens: 256}).EstimateTokens(strings.Repeat("word ", 10_000)); n != 256 {
		t.Errorf("%d tokens", n)
	}
}
