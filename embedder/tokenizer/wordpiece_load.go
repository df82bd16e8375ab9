package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// newWordPiece makes of the file what is written in Go, or returns an
// [unsupportedError].
func newWordPiece(f *file) (*wordPiece, error) {
	t := &wordPiece{}
	for _, part := range []func(*file) error{t.readModel, t.readPreTokenizer, t.readAddedTokens, t.readPostProcessor, t.readNormalizer} {
		if err := part(f); err != nil {
			return nil, err
		}
	}
	var err error
	t.pad, err = f.padID(t.idOf, t.size)
	return t, err
}

// idOf is the id of a token by its name.
func (t *wordPiece) idOf(token string) (int64, bool) {
	for _, a := range t.added {
		if a.text == token {
			return a.id, true
		}
	}
	id, ok := t.words[token]
	return id, ok
}

func (t *wordPiece) readModel(f *file) error {
	if kind := typeOf(f.Model); kind != "WordPiece" {
		return unsupported("model %s", kind)
	}
	var m struct {
		UnkToken string           `json:"unk_token"`
		Prefix   string           `json:"continuing_subword_prefix"`
		MaxChars int              `json:"max_input_chars_per_word"`
		Vocab    map[string]int64 `json:"vocab"`
	}
	if err := decode(f.Model, "model", &m); err != nil {
		return err
	}
	unk, ok := m.Vocab[m.UnkToken]
	if !ok || m.MaxChars < 0 {
		return fmt.Errorf("model: unk_token %q must be in the vocabulary, and max_input_chars_per_word must not be negative", m.UnkToken)
	}
	if m.Prefix == "" {
		return unsupported("model WordPiece without a continuing_subword_prefix")
	}
	t.unk, t.maxChars = unk, m.MaxChars
	t.words, t.pieces = make(map[string]int64, len(m.Vocab)), make(map[string]int64, len(m.Vocab)/4)
	for token, id := range m.Vocab {
		if !isID(id) {
			return fmt.Errorf("model: the vocabulary has an id below 0 or of more than 32 bits, %d", id)
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

func (t *wordPiece) readNormalizer(f *file) error {
	if kind := typeOf(f.Normalizer); kind != "BertNormalizer" {
		return unsupported("normalizer %s", kind)
	}
	var n struct {
		CleanText    bool  `json:"clean_text"`
		Chinese      bool  `json:"handle_chinese_chars"`
		StripAccents *bool `json:"strip_accents"`
		Lowercase    bool  `json:"lowercase"`
	}
	if err := decode(f.Normalizer, "normalizer", &n); err != nil {
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
				return unsupported("normalizer BertNormalizer that strips accents, with a vocabulary that has spacing combining marks,")
			}
		}
	}
	t.chars = newCharTable(n.CleanText, n.Chinese, strip, n.Lowercase)
	return nil
}

// reorderedMarks are the combining marks that stripping accents leaves and
// canonical ordering may move.
const reorderedMarks = "\u302e\u302f\U00016ff0\U00016ff1\U0001d165\U0001d166\U0001d16d"

func (t *wordPiece) readPreTokenizer(f *file) error {
	if kind := typeOf(f.PreTokenizer); kind != "BertPreTokenizer" {
		return unsupported("pre_tokenizer %s", kind)
	}
	return nil
}

func (t *wordPiece) readAddedTokens(f *file) error {
	next := int64(len(t.words)) // the reference numbers new tokens on from there
	for _, a := range f.AddedTokens {
		for flag, on := range map[string]bool{"single_word": a.SingleWord, "lstrip": a.LStrip, "rstrip": a.RStrip, "normalized": a.Normalized} {
			if on {
				return unsupported("added token %q with %s", a.Content, flag)
			}
		}
		id, ok := t.words[a.Content]
		if !ok {
			id, next = next, next+1
		}
		t.added = append(t.added, special{a.Content, id})
		t.addedFirst[a.Content[0]] = true
		t.size = max(t.size, int(id)+1)
	}
	if err := f.checkAddedIDs(t.idOf); err != nil {
		return err
	}
	// Of two that begin at one place the longer is meant.
	slices.SortStableFunc(t.added, func(a, b special) int { return len(b.text) - len(a.text) })
	return nil
}

// readPostProcessor finds the special tokens around a single text.
func (t *wordPiece) readPostProcessor(f *file) error {
	var err error
	switch kind := typeOf(f.PostProcessor); kind {
	case "BertProcessing":
		var p struct{ Sep, Cls pair }
		err = decode(f.PostProcessor, "post_processor", &p)
		t.before, t.after = []int64{p.Cls.id}, []int64{p.Sep.id}
	case "TemplateProcessing":
		err = t.readTemplate(f.PostProcessor)
	default:
		return unsupported("post_processor %s", kind)
	}
	if err != nil {
		return err
	}
	for _, id := range slices.Concat(t.before, t.after) {
		if !isID(id) {
			return fmt.Errorf("post_processor: a special token has an id below 0 or of more than 32 bits, %d", id)
		}
		t.size = max(t.size, int(id)+1)
	}
	return nil
}

// pair is [token, id].
type pair struct {
	token string
	id    int64
}

func (p *pair) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("%d values where [token, id] is wanted", len(parts))
	}
	if err := json.Unmarshal(parts[0], &p.token); err != nil {
		return err
	}
	return json.Unmarshal(parts[1], &p.id)
}

// piece is a step of a template: one of the two.
type piece struct {
	SpecialToken *pieceID
	Sequence     *pieceID
}

type pieceID struct {
	ID     string `json:"id"`
	TypeID int    `json:"type_id"`
}

func (t *wordPiece) readTemplate(data json.RawMessage) error {
	var p struct {
		Single        []map[string]json.RawMessage `json:"single"`
		SpecialTokens map[string]struct {
			IDs []int64 `json:"ids"`
		} `json:"special_tokens"`
	}
	if err := decode(data, "post_processor", &p); err != nil {
		return err
	}
	sequences := 0
	for _, step := range p.Single {
		var of piece
		if err := of.read(step); err != nil {
			return err
		}
		switch {
		case of.Sequence != nil:
			sequences++
		case sequences == 0:
			t.before = append(t.before, p.SpecialTokens[of.SpecialToken.ID].IDs...)
		default:
			t.after = append(t.after, p.SpecialTokens[of.SpecialToken.ID].IDs...)
		}
		if of.SpecialToken != nil && p.SpecialTokens[of.SpecialToken.ID].IDs == nil {
			return fmt.Errorf("post_processor: special token %q is not among special_tokens", of.SpecialToken.ID)
		}
	}
	if sequences != 1 {
		return unsupported("post_processor TemplateProcessing with the text in it %d times", sequences)
	}
	return nil
}

func (p *piece) read(step map[string]json.RawMessage) error {
	for kind, raw := range step {
		if _, err := object(raw, "post_processor "+kind, "id type_id"); err != nil {
			return err
		}
		var id pieceID
		if err := decode(raw, "post_processor "+kind, &id); err != nil {
			return err
		}
		switch {
		case id.TypeID != 0:
			return unsupported("post_processor TemplateProcessing with type id %d", id.TypeID)
		case kind == "Sequence" && id.ID == "A" && len(step) == 1:
			p.Sequence = &id
		case kind == "SpecialToken" && len(step) == 1:
			p.SpecialToken = &id
		default:
			return fmt.Errorf("post_processor: a step is %s %s; SpecialToken and Sequence A are known", kind, id.ID)
		}
	}
	if p.Sequence == nil && p.SpecialToken == nil {
		return fmt.Errorf("post_processor: a step of the template is empty")
	}
	return nil
}
