package cost

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Stream is the texts of a corpus, a share of which are duplicates.
type Stream struct {
	// Texts has one text for each chunk, in the order in which they come.
	Texts []string
	// Distinct is how many different ones there are.
	Distinct int
}

// NewStream makes a stream of so many chunks of which exactly so many have the
// text of another: the others each have a text of their own, the duplicates
// one of those, by chance, and the order is by chance too. A text has so many
// words, 2 or more. The same arguments always make the same stream.
func NewStream(chunks, duplicates, words int, seed uint64) (Stream, error) {
	distinct := chunks - duplicates
	switch {
	case duplicates < 0 || distinct < 1:
		return Stream{}, fmt.Errorf("%d duplicates among %d chunks: at least one chunk must have a text of its own", duplicates, chunks)
	case words < 2:
		return Stream{}, fmt.Errorf("%d words in a text: want 2 or more", words)
	}
	rng := rand.New(rand.NewPCG(seed, uint64(distinct)))
	s := Stream{Texts: make([]string, chunks), Distinct: distinct}
	for i := range s.Texts {
		if i < distinct {
			s.Texts[i] = text(i, words, rng)
		} else {
			s.Texts[i] = s.Texts[rng.IntN(distinct)]
		}
	}
	rng.Shuffle(chunks, func(i, k int) { s.Texts[i], s.Texts[k] = s.Texts[k], s.Texts[i] })
	return s, nil
}

// text is the n-th text. Its number stands first, where no model cuts it off,
// so that no two are equal.
func text(n, words int, rng *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Passage %d", n)
	for range words - 2 {
		b.WriteByte(' ')
		b.WriteString(vocabulary[rng.IntN(len(vocabulary))])
	}
	return b.String()
}

// vocabulary is plain words, which most tokenizers have whole.
var vocabulary = strings.Fields(`
	account address answer article board book border bridge building button camera capital center chapter circle city
	color company corner country cover engine entry error event field figure file floor garden glass group guide
	harbor house image island journal kitchen language letter library light line machine map market member message
	model morning mountain music number object office page paper picture plan plate point price product question
	record report river road room school screen season section service signal single station stone story street
	summer surface system table theory tower town train tree valley village voice water week window winter word`)
