//go:build hftokenizers

package embedder

import "testing"

// A model is encoded with whichever tokenizer its folder has.
func TestModelWithTheLibrarysTokenizer(t *testing.T) {
	e := open(t, func(c *Config) { c.ModelDir, c.ModelName = tinyBPE(t), "tiny-bpe" })
	// <s> the in d e x </s>
	if ids := tokenIDs(t, e, "The index"); len(ids) != 7 || ids[0] != 1 || ids[6] != 2 {
		t.Errorf("tokens %v", ids)
	}
	alone := encode(t, e, "The index")
	both := encode(t, e, "a model of every chunk", "The index")
	if !same(alone[0].Vector, both[1].Vector) || both[1].Tokens != 7 {
		t.Error("the text's vector depends on the call")
	}
}
