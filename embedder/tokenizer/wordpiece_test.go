package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// modelFile is the tokenizer.json of the real all-MiniLM-L6-v2.
func modelFile() string {
	dir := os.Getenv("CHUNKTIDE_TEST_MODEL_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", ".cache", "models", "all-MiniLM-L6-v2")
	}
	return filepath.Join(dir, "tokenizer.json")
}

func model(t testing.TB) Tokenizer {
	t.Helper()
	tok, err := Load(modelFile())
	if err != nil {
		t.Fatalf("the real tokenizer is needed; `make setup` fetches it: %v", err)
	}
	return tok
}

type golden struct {
	Text string  `json:"text"`
	IDs  []int64 `json:"ids"`
}

func goldens(t testing.TB, path string) []golden {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out []golden
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}

func check(t *testing.T, tok Tokenizer, cases []golden, limit int) {
	t.Helper()
	wrong := 0
	for _, g := range cases {
		got, total := tok.Encode(nil, g.Text, limit)
		if !slices.Equal(got, g.IDs) {
			if wrong++; wrong <= 5 {
				t.Errorf("%q:\n got %v\nwant %v", g.Text, got, g.IDs)
			}
		}
		if total < len(got) || total != tok.Count(g.Text) || (limit > 0 && total > limit && len(got) != limit) {
			t.Errorf("%q: %d ids, total %d, Count %d", g.Text, len(got), total, tok.Count(g.Text))
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d texts get other tokens than in the reference", wrong, len(cases))
	}
}

func TestTokensOfTheRealModel(t *testing.T) {
	cases := goldens(t, "testdata/minilm-l6-v2-tokens.jsonl")
	if len(cases) != 400 {
		t.Fatalf("%d cases, want 400", len(cases))
	}
	check(t, model(t), cases, 256)
}

func TestBrokenUTF8IsMadeValid(t *testing.T) {
	tok := model(t)
	for broken, valid := range map[string]string{"a\xffb": "a\uFFFDb", "caf\xc3": "caf\uFFFD", "\xed\xa0\x80x": "\uFFFDx"} {
		got, _ := tok.Encode(nil, broken, 0)
		want, _ := tok.Encode(nil, valid, 0)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want those of %q: %v", broken, got, valid, want)
		}
	}
}

func TestTruncationKeepsTheSpecialTokens(t *testing.T) {
	tok := model(t)
	text := strings.Repeat("index ", 1000)
	for _, limit := range []int{3, 16, 256} {
		ids, total := tok.Encode(nil, text, limit)
		if len(ids) != limit || ids[0] != 101 || ids[limit-1] != 102 || total != 1002 {
			t.Errorf("limit %d: %d ids from %d to %d, total %d", limit, len(ids), ids[0], ids[len(ids)-1], total)
		}
	}
	if ids, _ := tok.Encode([]int64{7}, "x", 0); ids[0] != 7 {
		t.Error("dst was not appended to")
	}
}

// small is a tokenizer.json with the given parts replaced.
func small(replace ...string) []byte {
	s := `{"added_tokens":[{"id":0,"content":"[PAD]","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}],
		"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
		"pre_tokenizer":{"type":"BertPreTokenizer"},
		"post_processor":{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]},
		"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":5,
			"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"a":4,"##b":5,"##c":6,"ab":7,"é":8,"É":9}}}`
	return []byte(strings.NewReplacer(replace...).Replace(s))
}

func TestSmallVocabulary(t *testing.T) {
	cased := []string{`"lowercase":true`, `"lowercase":false`}
	for _, tt := range []struct {
		text    string
		replace []string
		want    []int64
	}{
		{"abc ac xyz", nil, []int64{2, 7, 6, 4, 6, 1, 3}},
		{"abbbbb a", nil, []int64{2, 1, 4, 3}}, // more than five characters
		{"", nil, []int64{2, 3}},
		{"É", nil, []int64{2, 1, 3}}, // e is not in the vocabulary
		{"É é", cased, []int64{2, 9, 8, 3}},
		{"a[PAD]a", nil, []int64{2, 4, 0, 4, 3}},
	} {
		tok, err := Parse(small(tt.replace...))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := tok.Encode(nil, tt.text, 0); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.text, got, tt.want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, g := range goldens(f, "testdata/minilm-l6-v2-tokens.jsonl")[:50] {
		f.Add(g.Text, 256)
	}
	f.Add("\xff[SEP]\x00é", 3)
	tok := model(f)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		all, total := tok.Encode(nil, text, 0)
		if len(all) != total || tok.Count(text) != total || all[0] != 101 || all[total-1] != 102 {
			t.Fatalf("%d ids, total %d, Count %d: %v", len(all), total, tok.Count(text), all)
		}
		for _, id := range all {
			if id < 0 || id >= int64(tok.VocabSize()) {
				t.Fatalf("id %d of %d", id, tok.VocabSize())
			}
		}
		if limit < 1 {
			return
		}
		want := all
		if total > limit {
			want = slices.Concat(all[:max(limit, 2)-1], []int64{102})
		}
		if cut, again := tok.Encode([]int64{7}, text, limit); again != total || cut[0] != 7 || !slices.Equal(cut[1:], want) {
			t.Fatalf("cut to %d: %v of %d, want %v of %d", limit, cut[1:], again, want, total)
		}
	})
}

func BenchmarkEncode(b *testing.B) { benchmarkEncode(b, model(b)) }

// benchmarkEncode encodes the golden texts again and again on one core.
func benchmarkEncode(b *testing.B, tok Tokenizer) {
	cases := goldens(b, "testdata/minilm-l6-v2-tokens.jsonl")
	ids := make([]int64, 0, 1<<12)
	tokens := 0
	b.ReportAllocs()
	for b.Loop() {
		for _, g := range cases {
			ids, _ = tok.Encode(ids[:0], g.Text, 256)
			tokens += len(ids)
		}
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}

// No text needs memory but for its ids.
func TestEncodeAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector drops what a sync.Pool holds, so allocations are not counted under it")
		return
	}
	tok := model(t)
	ids := make([]int64, 0, 1<<12)
	for _, g := range goldens(t, "testdata/minilm-l6-v2-tokens.jsonl") {
		n := testing.AllocsPerRun(10, func() {
			ids, _ = tok.Encode(ids[:0], g.Text, 256)
			tok.Count(g.Text)
		})
		if n >= 1 {
			t.Errorf("%.40q: %v allocations", g.Text, n)
		}
	}
}
