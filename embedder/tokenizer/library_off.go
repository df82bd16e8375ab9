//go:build !hftokenizers

package tokenizer

import "fmt"

// newLibrary refuses what only the reference does.
func newLibrary(_ []byte, _ *file, why *unsupportedError) (Tokenizer, error) {
	return nil, fmt.Errorf("%w, and doing it nearly would give other vectors: build with Hugging Face's library (`make build TAGS=hftokenizers`), "+
		"or use a model with a BERT WordPiece tokenizer", why)
}
