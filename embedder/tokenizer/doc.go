// Package tokenizer turns text into the token ids of a BERT WordPiece
// vocabulary, as described by a Hugging Face tokenizer.json.
//
// It gives the ids that the reference (Hugging Face tokenizers) gives, for
// every text; a token that differs is a vector that differs, for as long as
// the index lives. So a tokenizer.json that asks for anything this package
// does not do exactly is refused by name, never approximated, and what each
// code point becomes is taken from the reference (tables_gen.go), not from
// Go's Unicode tables.
//
// The file's own truncation and padding are ignored on purpose: they are
// settings of whoever saved it (all-MiniLM-L6-v2 ships 128 fixed, the model
// takes 256); callers say how many tokens they want.
package tokenizer
