// Package tokenizer turns text into the token ids that a Hugging Face
// tokenizer.json describes.
//
// It gives the ids that the reference (Hugging Face tokenizers) gives, for
// every text; a token that differs is a vector that differs, for as long as
// the index lives. So what a tokenizer.json asks for is either done exactly or
// refused by name when it is loaded, never approximated.
//
// There are two ways to do it exactly. BERT WordPiece is done in Go: the
// models that most people embed with use it, and it is several times as fast
// as the reference. What each code point becomes is taken from the reference
// (tables_gen.go), not from Go's Unicode tables. Everything else, such as
// byte-level BPE and Unigram, is done by the reference itself, a Rust library
// that a build with the tag hftokenizers links in (`make build
// TAGS=hftokenizers`). Without the tag such a tokenizer.json is refused, and
// the error says to build with it.
//
// The file's own truncation and padding are ignored on purpose: they are
// settings of whoever saved it (all-MiniLM-L6-v2 ships 128 fixed, the model
// takes 256); callers say how many tokens they want, and always get the
// beginning of the text. Bytes that are not UTF-8 become U+FFFD, one for each
// run of them; the reference reads valid UTF-8 only.
package tokenizer
