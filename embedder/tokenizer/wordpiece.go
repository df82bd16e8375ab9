package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// wordPiece is BERT WordPiece as the reference does it. It is safe for
// concurrent use.
type wordPiece struct {
	// words begin a word, pieces (without their prefix) go on with one.
	words, pieces             map[string]int64
	longestWord, longestPiece int // bytes
	unk, pad                  int64
	maxChars                  int // of a word; longer ones are unknown
	size                      int

	chars *charTable

	// added tokens are found in the text as it is, before normalisation.
	added      []special
	addedFirst [256]bool

	// before and after are the special tokens around a text.
	before, after []int64
	scratch       sync.Pool // *[]byte, a word in the making
}

type special struct {
	text string
	id   int64
}

// PadID implements [Tokenizer].
func (t *wordPiece) PadID() int64 { return t.pad }

// VocabSize implements [Tokenizer].
func (t *wordPiece) VocabSize() int { return t.size }

// Encode implements [Tokenizer].
func (t *wordPiece) Encode(dst []int64, text string, max int) (ids []int64, total int) {
	room := -1
	if max > 0 {
		room = max - len(t.before) - len(t.after)
		if room < 0 {
			room = 0
		}
	}
	w := writer{tokenizer: t, ids: append(dst, t.before...), room: room}
	w.text(text)
	return append(w.ids, t.after...), w.total + len(t.before) + len(t.after)
}

// Count implements [Tokenizer].
func (t *wordPiece) Count(text string) int {
	w := writer{tokenizer: t, room: 0}
	w.text(text)
	return w.total + len(t.before) + len(t.after)
}

// writer collects the ids of one text.
type writer struct {
	tokenizer *wordPiece
	ids       []int64
	room      int // how many more ids are wanted; below 0: all
	total     int
}

func (w *writer) add(id int64) {
	w.total++
	if w.room == 0 {
		return
	}
	w.room--
	w.ids = append(w.ids, id)
}

// text splits off the added tokens and tokenises what is between them.
func (w *writer) text(text string) {
	t := w.tokenizer
	text = validUTF8(text)
	buffer, _ := t.scratch.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	start := 0
	for i := 0; i < len(text) && len(t.added) > 0; {
		if !t.addedFirst[text[i]] {
			i++
			continue
		}
		a := t.addedAt(text[i:])
		if a == nil {
			i++
			continue
		}
		w.plain(text[start:i], buffer)
		w.add(a.id)
		i += len(a.text)
		start = i
	}
	w.plain(text[start:], buffer)
	t.scratch.Put(buffer)
}

func (t *wordPiece) addedAt(text string) *special {
	for i := range t.added {
		if strings.HasPrefix(text, t.added[i].text) {
			return &t.added[i]
		}
	}
	return nil
}

// plain normalises text, cuts it into words, and those into pieces.
func (w *writer) plain(text string, buffer *[]byte) {
	chars := w.tokenizer.chars
	word := (*buffer)[:0]
	n := 0 // characters of word
	flush := func() {
		if len(word) > 0 {
			w.word(word, n)
			word, n = word[:0], 0
		}
	}
	put := func(r rune, class charClass) {
		switch class {
		case classSpace:
			flush()
		case classPunct:
			flush()
			word = utf8.AppendRune(word, r)
			n = 1
			flush()
		default:
			word = utf8.AppendRune(word, r)
			n++
		}
	}
	for _, r := range text {
		if chars.takesApart(r) {
			lead, vowel, tail := jamo(r)
			put(lead, classLetter)
			put(vowel, classLetter)
			if tail != 0 {
				put(tail, classLetter)
			}
			continue
		}
		c := chars.look(r)
		switch {
		case c.drop:
		case c.out == "":
			put(c.rune, c.class)
		default:
			for _, o := range c.out {
				put(o, chars.classOf(o))
			}
		}
	}
	flush()
	*buffer = word
}

// word finds the longest piece that begins the word, then the longest that
// goes on, and so forth; a word that does not come out even is unknown as a
// whole.
func (w *writer) word(word []byte, chars int) {
	t := w.tokenizer
	if chars > t.maxChars {
		w.add(t.unk)
		return
	}
	var found [64]int64
	pieces := found[:0]
	from, longest := t.words, t.longestWord
	for start := 0; start < len(word); {
		end := min(len(word), start+longest)
		for end > start {
			if end == len(word) || utf8.RuneStart(word[end]) {
				if id, ok := from[string(word[start:end])]; ok {
					pieces = append(pieces, id)
					break
				}
			}
			end--
		}
		if end == start {
			w.add(t.unk)
			return
		}
		start = end
		from, longest = t.pieces, t.longestPiece
	}
	for _, id := range pieces {
		w.add(id)
	}
}
