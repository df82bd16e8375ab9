//go:build hftokenizers && !race

package tokenizer

import (
	"bytes"
	"fmt"
	"testing"
)

// Every combination of the normalizer's options, which the golden data do not
// have: Go and the reference agree on each.
func TestEveryNormalizerOptionLikeTheLibrary(t *testing.T) {
	texts := parityTexts(t, folders()[0])
	base := family(t, "wordpiece-cased")
	was := []byte(`"clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":false`)
	if !bytes.Contains(base, was) {
		t.Fatal("the tokenizer's normalizer is written in another way than this test thinks")
	}
	for i := range 24 {
		strip := []string{"null", "false", "true"}[i/8]
		with := fmt.Sprintf(`"clean_text":%t,"handle_chinese_chars":%t,"strip_accents":%s,"lowercase":%t`, i&1 > 0, i&2 > 0, strip, i&4 > 0)
		data := bytes.Replace(base, was, []byte(with), 1)
		inGo, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		reference := viaLibrary(t, data)
		for _, text := range texts {
			if len(text) < 1000 { // the long ones are more of the same
				compare(t, inGo, reference, text, 0)
			}
		}
	}
}
