package embedder

import "unicode/utf8"

// EstimateTokens guesses how many tokens the model will read of a text, in a
// hundredth of the time that it takes to tokenize it. It is for bounds on work
// that is yet to be done, which need no more; what was encoded says its own
// count. A token of a subword vocabulary is about four letters of English, and
// about one character of a script that takes three bytes of UTF-8 for each. On
// prose it is mostly within a third of the truth.
func (r Recipe) EstimateTokens(text string) int {
	runes := utf8.RuneCountInString(text)
	beyond := len(text) - runes // 1 for a Cyrillic letter, 2 for a Chinese character
	tokens := 2 + (len(r.Prefix)+runes)/4 + beyond/2
	if r.MaxTokens > 0 {
		tokens = min(tokens, r.MaxTokens)
	}
	return tokens
}
