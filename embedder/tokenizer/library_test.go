//go:build hftokenizers

package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// viaLibrary has the reference read what WordPiece in Go would take.
func viaLibrary(t testing.TB, data []byte) Tokenizer {
	t.Helper()
	f, err := readFile(data)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := newLibrary(data, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestLibraryParityWithTheReference(t *testing.T) {
	for _, name := range []string{"bpe-gemma", "bpe-llama3", "bpe-qwen", "bpe-roberta", "unigram-xlmr", "wordpiece-cased", "wordpiece-uncased"} {
		t.Run(name, func(t *testing.T) {
			for _, dir := range folders() {
				checkParity(t, viaLibrary(t, family(t, name)), dir, name)
			}
		})
	}
}

func TestLibraryIsWhatParseChooses(t *testing.T) {
	for name, pad := range map[string]int64{"bpe-gemma": 0, "bpe-qwen": 0, "bpe-roberta": 1, "unigram-xlmr": 1} {
		tok, err := Parse(family(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := tok.(*library); !ok || tok.PadID() != pad {
			t.Errorf("%s is done by a %T with padding %d, want the library and %d", name, tok, tok.PadID(), pad)
		}
	}
}

func compare(t *testing.T, inGo, reference Tokenizer, text string, limit int) {
	t.Helper()
	got, total := inGo.Encode(nil, text, limit)
	want, wantTotal := reference.Encode(nil, text, limit)
	if !slices.Equal(got, want) || total != wantTotal || inGo.Count(text) != total {
		t.Fatalf("%q cut to %d:\n  Go %v of %d\nRust %v of %d", text, limit, got, total, want, wantTotal)
	}
}

func TestLibraryCutsAndAppends(t *testing.T) {
	tok := viaLibrary(t, family(t, "unigram-xlmr"))
	for _, limit := range []int{1, 2, 3, 50} {
		ids, total := tok.Encode([]int64{7}, strings.Repeat("the index ", 100), limit)
		if want := max(limit, 2); len(ids) != 1+want || ids[0] != 7 || ids[1] != 0 || ids[want] != 2 || total <= limit {
			t.Errorf("limit %d: %v of %d", limit, ids, total)
		}
	}
	// One character becomes 18, so the first guess at the room is too small.
	long := strings.Repeat("\ufdfa", 2000)
	if ids, total := tok.Encode(nil, long, 0); len(ids) != total || total < 1000 {
		t.Errorf("%d ids, total %d", len(ids), total)
	}
}

func TestLibraryFromSeveralGoroutines(t *testing.T) {
	tok := viaLibrary(t, family(t, "bpe-qwen"))
	texts := parityTexts(t, folders()[0])[:300]
	var want [][]int64
	for _, text := range texts {
		ids, _ := tok.Encode(nil, text, 0)
		want = append(want, ids)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, text := range texts {
				if ids, _ := tok.Encode(nil, text, 0); !slices.Equal(ids, want[i]) {
					t.Errorf("%q: %v, alone %v", text, ids, want[i])
				}
			}
		})
	}
	wg.Wait()
}

// A panic in Rust stays there: the charsmap is no base64, which the library
// does not expect.
func TestPanicInRustIsAnError(t *testing.T) {
	data := small(`{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}`,
		`{"type":"Precompiled","precompiled_charsmap":"@"}`)
	_, err := Parse(data)
	if err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("error %v, want a panic's", err)
	}
}

func FuzzLikeTheLibrary(f *testing.F) {
	for i, text := range parityTexts(f, folders()[0]) {
		if i%20 == 0 && len(text) < 200 {
			f.Add(text, i%30)
		}
	}
	type both struct{ inGo, reference Tokenizer }
	var pairs []both
	for _, name := range []string{"wordpiece-uncased", "wordpiece-cased"} {
		data := family(f, name)
		inGo, err := Parse(data)
		if err != nil {
			f.Fatal(err)
		}
		pairs = append(pairs, both{inGo, viaLibrary(f, data)})
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit > 0 && limit < 3 {
			limit = 3
		}
		for _, p := range pairs {
			compare(t, p.inGo, p.reference, text, limit)
		}
	})
}

func BenchmarkLibrary(b *testing.B) {
	for _, name := range []string{"wordpiece-uncased", "bpe-qwen", "unigram-xlmr"} {
		b.Run(name, func(b *testing.B) { benchmarkEncode(b, viaLibrary(b, family(b, name))) })
	}
}
