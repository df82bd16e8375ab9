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

// model is the tokenizer.json of the real all-MiniLM-L6-v2.
func model(t testing.TB) *Tokenizer {
	t.Helper()
	dir := os.Getenv("CHUNKTIDE_TEST_MODEL_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", ".cache", "models", "all-MiniLM-L6-v2")
	}
	tok, err := Load(filepath.Join(dir, "tokenizer.json"))
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

func check(t *testing.T, tok *Tokenizer, cases []golden, limit int) {
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

// testdata/parity.jsonl is what tools/tokenizer/parity.py made; a larger file
// of its making can be checked by CHUNKTIDE_TEST_PARITY.
func TestParityWithTheReference(t *testing.T) {
	cases := goldens(t, "testdata/parity.jsonl")
	if len(cases) < 2000 {
		t.Fatalf("%d cases, want 2000 or more", len(cases))
	}
	check(t, model(t), cases, 0)
	if path := os.Getenv("CHUNKTIDE_TEST_PARITY"); path != "" {
		check(t, model(t), goldens(t, path), 0)
	}
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

func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	for _, tt := range []struct{ old, new, says string }{
		{`"type":"WordPiece"`, `"type":"Unigram"`, "Unigram"},
		{`"type":"BertNormalizer"`, `"type":"NFKC"`, "NFKC"},
		{`"type":"BertPreTokenizer"`, `"type":"Metaspace"`, "Metaspace"},
		{`"type":"BertProcessing"`, `"type":"RobertaProcessing"`, "RobertaProcessing"},
		{`"lstrip":false`, `"lstrip":true`, "lstrip"},
		{`"clean_text":true`, `"clean_text":true,"new_feature":1`, "new_feature"},
		{`"##c":6`, `"##c":6,"a\u302e":10`, "combining marks"},
		{`"unk_token":"[UNK]"`, `"unk_token":"<unk>"`, "unk_token"},
		{`{"added`, `{{"added`, "no tokenizer.json"},
	} {
		_, err := Parse(small(tt.old, tt.new))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want it to name %s", tt.new, err, tt.says)
		}
	}
	if _, err := Load("testdata/no-such-file"); err == nil {
		t.Error("a missing file was loaded")
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
		if len(all) != total || all[0] != 101 || all[total-1] != 102 {
			t.Fatalf("%d ids, total %d: %v", len(all), total, all)
		}
		for _, id := range all {
			if id < 0 || id >= int64(tok.VocabSize()) {
				t.Fatalf("id %d", id)
			}
		}
		if limit < 2 {
			return
		}
		cut, again := tok.Encode(nil, text, limit)
		if again != total || len(cut) != min(limit, total) || !slices.Equal(cut[:len(cut)-1], all[:len(cut)-1]) || cut[len(cut)-1] != 102 {
			t.Fatalf("cut to %d: %v of %v", limit, cut, all)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(small())
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := Parse(data); err == nil {
			tok.Encode(nil, "abc \x00é[PAD]", 4)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := model(b)
	cases := goldens(b, "testdata/minilm-l6-v2-tokens.jsonl")
	var ids []int64
	tokens := 0
	for b.Loop() {
		for _, g := range cases {
			ids, _ = tok.Encode(ids[:0], g.Text, 256)
			tokens += len(ids)
		}
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}
