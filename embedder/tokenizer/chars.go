package tokenizer

// charClass is what the pre-tokenizer makes of a character.
type charClass uint8

const (
	classLetter charClass = iota // part of a word
	classSpace                   // between words
	classPunct                   // a word of its own
)

// char is what normalisation leaves of a code point: nothing, one rune with
// its class, or a string of several.
type char struct {
	drop  bool
	class charClass
	rune  rune
	out   string
}

// charTable answers for every code point. Pages without anything special are
// nil.
type charTable struct {
	pages [(1 << 21) >> pageBits]*[1 << pageBits]char
	// classes are of code points as they are, for what others turn into.
	classes map[rune]charClass
	// strip says that Hangul syllables are taken apart.
	strip bool
}

const pageBits = 8

// newCharTable composes the steps of the reference's BertNormalizer in its
// order: clean, Chinese characters, accents, lower case.
func newCharTable(clean, chinese, strip, lower bool) *charTable {
	t := &charTable{classes: map[rune]charClass{}, strip: strip}
	each(spaces, func(r rune) { t.classes[r] = classSpace })
	each(punctuation, func(r rune) { t.classes[r] = classPunct })

	texts := map[rune]string{}
	// then applies a step to what is left of each code point that it changes.
	then := func(r rune, s string) { texts[r] = s }
	if clean {
		each(cleanDropped, func(r rune) { then(r, "") })
		each(cleanSpaced, func(r rune) { then(r, " ") })
	}
	if strip {
		for r, s := range decompositions {
			if _, done := texts[r]; !done {
				then(r, s)
			}
		}
		each(marks, func(r rune) {
			if _, done := texts[r]; !done {
				then(r, "")
			}
		})
	}
	if lower {
		for r := range lowerCase {
			if _, done := texts[r]; !done {
				then(r, string(r))
			}
		}
		for r, s := range texts {
			texts[r] = lowered(s)
		}
	}
	if chinese {
		// The spaces come before the accents are taken off, and stay.
		each(ideographs, func(r rune) {
			s, done := texts[r]
			if !done {
				s = string(r)
			}
			then(r, " "+s+" ")
		})
	}
	for r, s := range texts {
		t.set(r, t.make(s))
	}
	for r, class := range t.classes {
		if _, done := texts[r]; !done {
			t.set(r, char{rune: r, class: class})
		}
	}
	return t
}

func each(ranges [][2]rune, do func(rune)) {
	for _, r := range ranges {
		for c := r[0]; c <= r[1]; c++ {
			do(c)
		}
	}
}

func lowered(s string) string {
	out := ""
	for _, r := range s {
		if l, ok := lowerCase[r]; ok {
			out += l
		} else {
			out += string(r)
		}
	}
	return out
}

func (t *charTable) make(s string) char {
	runes := []rune(s)
	switch len(runes) {
	case 0:
		return char{drop: true}
	case 1:
		return char{rune: runes[0], class: t.classes[runes[0]]}
	default:
		return char{out: s}
	}
}

func (t *charTable) set(r rune, c char) {
	page := t.pages[r>>pageBits]
	if page == nil {
		page = new([1 << pageBits]char)
		base := r &^ (1<<pageBits - 1)
		for i := range page {
			page[i].rune = base + rune(i)
		}
		t.pages[r>>pageBits] = page
	}
	page[r&(1<<pageBits-1)] = c
}

// look returns what normalisation leaves of r, unless it [charTable.takesApart]
// it.
func (t *charTable) look(r rune) char {
	if page := t.pages[r>>pageBits]; page != nil {
		return page[r&(1<<pageBits-1)]
	}
	return char{rune: r}
}

func (t *charTable) classOf(r rune) charClass { return t.classes[r] }

// Hangul syllables decompose by rule (The Unicode Standard, section 3.12).
const (
	hangulFirst, hangulLast       = 0xAC00, 0xD7A3
	leadBase, vowelBase, tailBase = 0x1100, 0x1161, 0x11A7
	vowelCount, tailCount         = 21, 28
	syllablesALead                = vowelCount * tailCount
)

// takesApart says whether r is a syllable that becomes its letters.
func (t *charTable) takesApart(r rune) bool { return t.strip && hangulFirst <= r && r <= hangulLast }

// jamo are a syllable's letters; tail is 0 if there are two.
func jamo(r rune) (lead, vowel, tail rune) {
	s := r - hangulFirst
	if tail = s % tailCount; tail != 0 {
		tail += tailBase
	}
	return leadBase + s/syllablesALead, vowelBase + s%syllablesALead/tailCount, tail
}
