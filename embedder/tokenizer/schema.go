package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// file is a tokenizer.json whose fields are all known. Parts of several kinds
// stay raw until their type is looked at.
type file struct {
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         json.RawMessage `json:"model"`
	Padding       *struct {
		PadID int64 `json:"pad_id"`
	} `json:"padding"`

	padToken string // what tokenizer_config.json names
}

type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// The fields of each kind of object, as the reference reads them (tokenizers
// 0.22.2); a question mark is behind those that may be missing. A field that
// is not here may change the tokens, and the reference skips what it does not
// know without a word; so it is refused.
const (
	fileFields  = "version? truncation? padding? added_tokens? normalizer? pre_tokenizer? post_processor? decoder? model"
	addedFields = "id content single_word lstrip rstrip normalized special"
)

// fieldsOf are the fields of a part of the given kind, its type aside, and
// the one among them that holds parts of the same sort. Decoder, truncation
// and padding have no say in the tokens.
func fieldsOf(part, kind string) (fields, nested string, known bool) {
	const byteLevel = "add_prefix_space trim_offsets use_regex?"
	switch part + " " + kind {
	case "model WordPiece":
		return "unk_token continuing_subword_prefix max_input_chars_per_word vocab", "", true
	case "model BPE":
		return "vocab merges dropout? unk_token? continuing_subword_prefix? end_of_word_suffix? fuse_unk? byte_fallback? ignore_merges?", "", true
	case "model Unigram":
		return "vocab unk_id? byte_fallback?", "", true
	case "model WordLevel":
		return "vocab unk_token", "", true

	case "normalizer BertNormalizer":
		return "clean_text handle_chinese_chars strip_accents? lowercase", "", true
	case "normalizer Sequence":
		return "normalizers", "normalizers", true
	case "normalizer Precompiled":
		return "precompiled_charsmap", "", true
	case "normalizer Replace":
		return "pattern content", "", true
	case "normalizer Prepend":
		return "prepend", "", true
	case "normalizer Strip":
		return "strip_left strip_right", "", true
	case "normalizer NFC", "normalizer NFD", "normalizer NFKC", "normalizer NFKD", "normalizer Lowercase",
		"normalizer StripAccents", "normalizer Nmt", "normalizer ByteLevel":
		return "", "", true

	case "pre_tokenizer BertPreTokenizer", "pre_tokenizer Whitespace", "pre_tokenizer WhitespaceSplit", "pre_tokenizer UnicodeScripts":
		return "", "", true
	case "pre_tokenizer Sequence":
		return "pretokenizers", "pretokenizers", true
	case "pre_tokenizer ByteLevel", "post_processor ByteLevel":
		return byteLevel, "", true
	case "pre_tokenizer Metaspace":
		return "replacement prepend_scheme? split? add_prefix_space? str_rep?", "", true
	case "pre_tokenizer Split":
		return "pattern behavior invert", "", true
	case "pre_tokenizer CharDelimiterSplit":
		return "delimiter", "", true
	case "pre_tokenizer Punctuation":
		return "behavior?", "", true
	case "pre_tokenizer Digits":
		return "individual_digits", "", true
	case "pre_tokenizer FixedLength":
		return "length?", "", true

	case "post_processor BertProcessing":
		return "sep cls", "", true
	case "post_processor RobertaProcessing":
		return "sep cls trim_offsets add_prefix_space", "", true
	case "post_processor TemplateProcessing":
		return "single pair special_tokens", "", true
	case "post_processor Sequence":
		return "processors", "processors", true
	default:
		return "", "", false
	}
}

// readFile reads a tokenizer.json and checks that every field in it is known.
func readFile(data []byte) (*file, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("is no tokenizer.json: it is not in UTF-8")
	}
	top, err := object(data, "the file", fileFields)
	if err != nil {
		return nil, err
	}
	if version, ok := top["version"]; ok && string(version) != `"1.0"` {
		return nil, fmt.Errorf("version %s of tokenizer.json is not known, 1.0 is: save the tokenizer with another release of tokenizers", version)
	}
	var added []json.RawMessage
	if err := decode(top["added_tokens"], "added_tokens", &added); err != nil {
		return nil, err
	}
	for _, raw := range added {
		if _, err := object(raw, "added_tokens", addedFields); err != nil {
			return nil, err
		}
	}
	for _, part := range []string{"model", "normalizer", "pre_tokenizer", "post_processor"} {
		if err := checkPart(top[part], part); err != nil {
			return nil, err
		}
	}
	f := &file{}
	if err := decode(data, "the file", f); err != nil {
		return nil, err
	}
	return f, f.checkAdded()
}

// checkPart goes through a part and those in it. A part that is null does
// nothing.
func checkPart(data json.RawMessage, part string) error {
	if part != "model" && isNull(data) {
		return nil
	}
	kind := typeOf(data)
	fields, nested, known := fieldsOf(part, kind)
	if !known {
		return fmt.Errorf("%s %s is not known, and doing it nearly would give other vectors: use another model", part, kind)
	}
	values, err := object(data, part+" "+kind, "type "+fields)
	if err != nil || nested == "" {
		return err
	}
	var parts []json.RawMessage
	if err := decode(values[nested], part+" "+kind, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		if isNull(p) {
			return fmt.Errorf("%s %s holds a null", part, kind)
		}
		if err := checkPart(p, part); err != nil {
			return err
		}
	}
	return nil
}

// object reads an object that has all the fields and no others.
func object(data json.RawMessage, what, fields string) (map[string]json.RawMessage, error) {
	var values map[string]json.RawMessage
	if err := decode(data, what, &values); err != nil {
		return nil, err
	}
	if values == nil {
		return nil, fmt.Errorf("%s: an object is wanted", what)
	}
	var names []string
	for _, name := range strings.Fields(fields) {
		name, optional := strings.CutSuffix(name, "?")
		names = append(names, name)
		if _, ok := values[name]; !ok && !optional {
			return nil, fmt.Errorf("%s: the field %s is missing: save the tokenizer again with a current release of tokenizers", what, name)
		}
	}
	for name := range values {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%s: the field %q is not known, and leaving it out might give other vectors: use another model", what, name)
		}
	}
	return values, nil
}

// decode reads a value that may be missing.
func decode(data json.RawMessage, what string, into any) error {
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("is no tokenizer.json: %s: %w", what, err)
	}
	return nil
}

func isNull(data json.RawMessage) bool { return len(data) == 0 || string(data) == "null" }

func typeOf(data json.RawMessage) string {
	var t struct {
		Type string `json:"type"`
	}
	if isNull(data) || json.Unmarshal(data, &t) != nil || t.Type == "" {
		return "(none)"
	}
	return t.Type
}

// checkAdded refuses added tokens that no tokenizer can mean.
func (f *file) checkAdded() error {
	seen := map[string]bool{}
	for _, a := range f.AddedTokens {
		switch {
		case a.Content == "" || !isID(a.ID):
			return fmt.Errorf("added_tokens: one has no content, or an id below 0 or of more than 32 bits")
		case seen[a.Content]:
			return fmt.Errorf("added_tokens: %q is there twice", a.Content)
		}
		seen[a.Content] = true
	}
	return nil
}

// isID says whether the reference could hold the id.
func isID(id int64) bool { return id >= 0 && id < 1<<32 }

// checkAddedIDs compares the ids that the file says with those that the
// reference gives: it numbers added tokens by itself, and only warns.
func (f *file) checkAddedIDs(idOf func(string) (int64, bool)) error {
	for _, a := range f.AddedTokens {
		if id, ok := idOf(a.Content); !ok || id != a.ID {
			return fmt.Errorf("added_tokens: %q has id %d in the file, and the reference gives it %d: save the tokenizer again", a.Content, a.ID, id)
		}
	}
	return nil
}

// checkUnknown refuses models that would fail in the middle of a text, at
// something that is not in their vocabulary, or draw tokens by lot.
func (f *file) checkUnknown() error {
	var m struct {
		Type     string          `json:"type"`
		UnkToken *string         `json:"unk_token"`
		UnkID    *int64          `json:"unk_id"`
		Dropout  float64         `json:"dropout"`
		Vocab    json.RawMessage `json:"vocab"`
	}
	if err := decode(f.Model, "model", &m); err != nil {
		return err
	}
	if m.Dropout != 0 {
		return fmt.Errorf("model: dropout %v draws the tokens of a text by lot, so that it has no vector of its own: set it to null", m.Dropout)
	}
	if m.Type == "Unigram" {
		if m.UnkID == nil {
			return fmt.Errorf("model: Unigram needs an unk_id, the token of what is not in its vocabulary")
		}
		return nil
	}
	if m.UnkToken == nil {
		return nil
	}
	var vocab map[string]int64
	if err := decode(m.Vocab, "model", &vocab); err != nil {
		return err
	}
	if _, ok := vocab[*m.UnkToken]; !ok {
		return fmt.Errorf("model: unk_token %q must be in the vocabulary", *m.UnkToken)
	}
	return nil
}
