package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// file is the part of a tokenizer.json that matters. What is optional is a
// pointer; parts of several kinds stay raw until their type is known.
type file struct {
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         json.RawMessage `json:"model"`
	Padding       *struct {
		PadID int64 `json:"pad_id"`
	} `json:"padding"`
}

type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// Load reads a tokenizer.json.
func Load(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the tokenizer: %w", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse reads the content of a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("is no tokenizer.json: %w", err)
	}
	t := &Tokenizer{}
	for _, part := range []func(*file) error{t.readModel, t.readNormalizer, t.readPreTokenizer, t.readAddedTokens, t.readPostProcessor} {
		if err := part(&f); err != nil {
			return nil, err
		}
	}
	if f.Padding != nil {
		t.pad = f.Padding.PadID
	} else if id, ok := t.words["[PAD]"]; ok {
		t.pad = id
	}
	return t, nil
}

// unsupported names what a file asks for and this package does not do.
func unsupported(what, got string) error {
	return fmt.Errorf("%s %s is not supported, and doing it nearly would give other vectors: use a model with a BERT WordPiece tokenizer", what, got)
}

// strict decodes a part and refuses fields that it does not know: each may
// change the tokens.
func strict(data json.RawMessage, what string, into any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func typeOf(data json.RawMessage) string {
	var t struct{ Type string }
	if len(data) == 0 || json.Unmarshal(data, &t) != nil || t.Type == "" {
		return "(none)"
	}
	return t.Type
}

func (t *Tokenizer) readModel(f *file) error {
	if kind := typeOf(f.Model); kind != "WordPiece" {
		return unsupported("model", kind)
	}
	var m struct {
		Type     string           `json:"type"`
		UnkToken string           `json:"unk_token"`
		Prefix   string           `json:"continuing_subword_prefix"`
		MaxChars int              `json:"max_input_chars_per_word"`
		Vocab    map[string]int64 `json:"vocab"`
	}
	if err := strict(f.Model, "model", &m); err != nil {
		return err
	}
	unk, ok := m.Vocab[m.UnkToken]
	if !ok || m.Prefix == "" || m.MaxChars <= 0 {
		return fmt.Errorf("model: unk_token %q must be in the vocabulary, and continuing_subword_prefix and max_input_chars_per_word must be set", m.UnkToken)
	}
	t.unk, t.maxChars = unk, m.MaxChars
	t.words, t.pieces = make(map[string]int64, len(m.Vocab)), make(map[string]int64, len(m.Vocab)/4)
	for token, id := range m.Vocab {
		if id < 0 {
			return fmt.Errorf("model: the vocabulary has a negative id")
		}
		t.size = max(t.size, int(id)+1)
		// A token with the prefix can begin a word too, if the word has it.
		t.words[token] = id
		t.longestWord = max(t.longestWord, len(token))
		if piece, ok := strings.CutPrefix(token, m.Prefix); ok {
			t.pieces[piece] = id
			t.longestPiece = max(t.longestPiece, len(piece))
		}
	}
	return nil
}

func (t *Tokenizer) readNormalizer(f *file) error {
	if kind := typeOf(f.Normalizer); kind != "BertNormalizer" {
		return unsupported("normalizer", kind)
	}
	n := struct {
		Type         string `json:"type"`
		CleanText    bool   `json:"clean_text"`
		Chinese      bool   `json:"handle_chinese_chars"`
		StripAccents *bool  `json:"strip_accents"`
		Lowercase    bool   `json:"lowercase"`
	}{}
	if err := strict(f.Normalizer, "normalizer", &n); err != nil {
		return err
	}
	strip := n.Lowercase // strip_accents: null follows lowercase
	if n.StripAccents != nil {
		strip = *n.StripAccents
	}
	if strip {
		// The reference also puts such marks in canonical order (NFD).
		for token := range t.words {
			if strings.ContainsAny(token, reorderedMarks) {
				return unsupported("normalizer", "that strips accents, with a vocabulary that has spacing combining marks,")
			}
		}
	}
	t.chars = newCharTable(n.CleanText, n.Chinese, strip, n.Lowercase)
	return nil
}

// reorderedMarks are the combining marks that stripping accents leaves and
// canonical ordering may move.
const reorderedMarks = "\u302e\u302f\U00016ff0\U00016ff1\U0001d165\U0001d166\U0001d16d"

func (t *Tokenizer) readPreTokenizer(f *file) error {
	if kind := typeOf(f.PreTokenizer); kind != "BertPreTokenizer" {
		return unsupported("pre_tokenizer", kind)
	}
	return nil
}

func (t *Tokenizer) readAddedTokens(f *file) error {
	for _, a := range f.AddedTokens {
		switch {
		case a.Content == "" || a.ID < 0:
			return fmt.Errorf("added_tokens: one has no content or a negative id")
		case a.SingleWord, a.LStrip, a.RStrip, a.Normalized:
			return unsupported("added token", fmt.Sprintf("%q with single_word, lstrip, rstrip or normalized", a.Content))
		}
		t.added = append(t.added, special{a.Content, a.ID})
		t.addedFirst[a.Content[0]] = true
		t.size = max(t.size, int(a.ID)+1)
	}
	// Of two that begin at one place the longer is meant.
	slices.SortStableFunc(t.added, func(a, b special) int { return len(b.text) - len(a.text) })
	return nil
}

// readPostProcessor finds the special tokens around a single text.
func (t *Tokenizer) readPostProcessor(f *file) error {
	switch kind := typeOf(f.PostProcessor); kind {
	case "BertProcessing":
		var p struct {
			Type     string
			Sep, Cls [2]any
		}
		if err := strict(f.PostProcessor, "post_processor", &p); err != nil {
			return err
		}
		cls, ok1 := p.Cls[1].(float64)
		sep, ok2 := p.Sep[1].(float64)
		if !ok1 || !ok2 {
			return fmt.Errorf("post_processor: cls and sep must be [token, id]")
		}
		t.before, t.after = []int64{int64(cls)}, []int64{int64(sep)}
		return nil
	case "TemplateProcessing":
		return t.readTemplate(f.PostProcessor)
	default:
		return unsupported("post_processor", kind)
	}
}

func (t *Tokenizer) readTemplate(data json.RawMessage) error {
	var p struct {
		Type   string `json:"type"`
		Single []struct {
			SpecialToken *struct {
				ID     string `json:"id"`
				TypeID int    `json:"type_id"`
			}
			Sequence *struct {
				ID     string `json:"id"`
				TypeID int    `json:"type_id"`
			}
		} `json:"single"`
		Pair          json.RawMessage `json:"pair"`
		SpecialTokens map[string]struct {
			ID     string   `json:"id"`
			IDs    []int64  `json:"ids"`
			Tokens []string `json:"tokens"`
		} `json:"special_tokens"`
	}
	if err := strict(data, "post_processor", &p); err != nil {
		return err
	}
	sequences := 0
	for _, step := range p.Single {
		switch {
		case step.Sequence != nil && step.Sequence.TypeID == 0:
			sequences++
		case step.SpecialToken != nil && step.SpecialToken.TypeID == 0:
			special, ok := p.SpecialTokens[step.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("post_processor: special token %q is not among special_tokens", step.SpecialToken.ID)
			}
			if sequences == 0 {
				t.before = append(t.before, special.IDs...)
			} else {
				t.after = append(t.after, special.IDs...)
			}
		default:
			return unsupported("post_processor", "template with other type ids than 0")
		}
	}
	if sequences != 1 {
		return unsupported("post_processor", fmt.Sprintf("template with %d sequences", sequences))
	}
	for _, id := range slices.Concat(t.before, t.after) {
		if id < 0 {
			return fmt.Errorf("post_processor: a special token has a negative id")
		}
		t.size = max(t.size, int(id)+1)
	}
	return nil
}
