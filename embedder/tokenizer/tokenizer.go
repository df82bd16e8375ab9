package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Tokenizer is a loaded tokenizer.json. It is safe for concurrent use.
type Tokenizer interface {
	// Encode appends the ids of text to dst, special tokens included, and
	// returns at most max of them (all if max ≤ 0): the beginning of the text
	// between its special tokens. These are never left out, so max should be
	// more than Count(""). total is how many ids the whole text has, so that
	// total > max means that it was cut.
	//
	// It panics if the Rust library panics, as a bug in a tokenizer written
	// in Go would; no text is known that brings it about.
	Encode(dst []int64, text string, max int) (ids []int64, total int)
	// Count is the total that Encode returns.
	Count(text string) int
	// PadID is the id that fills up short texts in a batch.
	PadID() int64
	// VocabSize is one more than the highest id.
	VocabSize() int
}

// Load reads a tokenizer.json, and of the tokenizer_config.json beside it, if
// there is one, the name of the padding token. An error names what the file
// asks for and this build cannot do.
func Load(path string) (Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the tokenizer: %w", err)
	}
	pad, err := readPadToken(filepath.Join(filepath.Dir(path), "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	t, err := parse(data, pad)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse reads the content of a tokenizer.json.
func Parse(data []byte) (Tokenizer, error) { return parse(data, "") }

func parse(data []byte, pad string) (Tokenizer, error) {
	f, err := readFile(data)
	if err != nil {
		return nil, err
	}
	f.padToken = pad
	words, err := newWordPiece(f)
	var other *unsupportedError
	switch {
	case errors.As(err, &other):
		return newLibrary(data, f, other)
	case err != nil:
		return nil, err
	default:
		return words, nil
	}
}

// unsupportedError names what a file asks for and WordPiece in Go does not
// do. The reference may.
type unsupportedError struct{ what string }

func (e *unsupportedError) Error() string { return e.what + " is not supported by this build" }

func unsupported(format string, args ...any) error {
	return &unsupportedError{fmt.Sprintf(format, args...)}
}

// readPadToken returns what a tokenizer_config.json calls pad_token, a string
// or an object around one.
func readPadToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the tokenizer's configuration: %w", err)
	}
	var config struct {
		PadToken json.RawMessage `json:"pad_token"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	var token struct{ Content string }
	if json.Unmarshal(config.PadToken, &token.Content) != nil && len(config.PadToken) > 0 {
		if err := json.Unmarshal(config.PadToken, &token); err != nil {
			return "", fmt.Errorf("%s: pad_token must be a string or an object with its content: %w", path, err)
		}
	}
	return token.Content, nil
}

// padID is the id to pad with: the one that the file or the configuration
// beside it names, or that of an added token with one of the usual names. A
// model that names none masks what is padded, and any id will do.
func (f *file) padID(idOf func(string) (int64, bool), size int) (int64, error) {
	if f.Padding != nil {
		if f.Padding.PadID < 0 || f.Padding.PadID >= int64(size) {
			return 0, fmt.Errorf("padding: pad_id %d is not the id of a token: there are %d", f.Padding.PadID, size)
		}
		return f.Padding.PadID, nil
	}
	if f.padToken != "" {
		id, ok := idOf(f.padToken)
		if !ok {
			return 0, fmt.Errorf("tokenizer_config.json names the pad_token %q, which is not in the vocabulary: the two files belong to different models", f.padToken)
		}
		return id, nil
	}
	for _, a := range f.AddedTokens {
		if a.Content == "[PAD]" || a.Content == "<pad>" {
			return a.ID, nil
		}
	}
	return 0, nil
}

// validUTF8 is the text that is tokenized in place of one with broken bytes.
func validUTF8(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
