//go:build !hftokenizers

package tokenizer

import (
	"strings"
	"testing"
)

func TestWithoutTheLibraryItsModelsAreRefused(t *testing.T) {
	for name, says := range map[string]string{
		"bpe-qwen": "model BPE", "bpe-llama3": "model BPE", "bpe-gemma": "model BPE", "bpe-roberta": "model BPE", "unigram-xlmr": "model Unigram",
	} {
		_, err := Parse(family(t, name))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "make build TAGS=hftokenizers") {
			t.Errorf("%s: error %v, want it to name %s and the build to make", name, err, says)
		}
	}
}
