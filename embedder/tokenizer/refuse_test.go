package tokenizer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	normalizer = `{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}`
	processor  = `{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]}`
)

// template is a TemplateProcessing with the given steps.
func template(steps string) string {
	return `{"type":"TemplateProcessing","pair":[],"single":[` + steps + `],"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]}}}`
}

const (
	stepCLS  = `{"SpecialToken":{"id":"[CLS]","type_id":0}}`
	stepText = `{"Sequence":{"id":"A","type_id":0}}`
)

// What WordPiece in Go does not do is handed over by name.
func TestWhatGoDoesNotDoIsNamed(t *testing.T) {
	for _, tt := range []struct{ old, new, says string }{
		{`"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":5`,
			`"type":"WordLevel","unk_token":"[UNK]"`, "model WordLevel"},
		{`"continuing_subword_prefix":"##"`, `"continuing_subword_prefix":""`, "continuing_subword_prefix"},
		{normalizer, `{"type":"NFKC"}`, "normalizer NFKC"},
		{normalizer, `null`, "normalizer (none)"},
		{normalizer, `{"type":"Sequence","normalizers":[` + normalizer + `]}`, "normalizer Sequence"},
		{normalizer, `{"type":"Precompiled","precompiled_charsmap":""}`, "normalizer Precompiled"},
		{normalizer, `{"type":"Lowercase"}`, "normalizer Lowercase"},
		{`"##c":6`, `"##c":6,"a\u302e":10`, "combining marks"},
		{`{"type":"BertPreTokenizer"}`, `{"type":"Whitespace"}`, "pre_tokenizer Whitespace"},
		{`{"type":"BertPreTokenizer"}`, `{"type":"Metaspace","replacement":"▁"}`, "pre_tokenizer Metaspace"},
		{`{"type":"BertPreTokenizer"}`, `null`, "pre_tokenizer (none)"},
		{`"lstrip":false`, `"lstrip":true`, `"[PAD]" with lstrip`},
		{`"rstrip":false`, `"rstrip":true`, `"[PAD]" with rstrip`},
		{`"single_word":false`, `"single_word":true`, `"[PAD]" with single_word`},
		{`"normalized":false`, `"normalized":true`, `"[PAD]" with normalized`},
		{processor, `{"type":"RobertaProcessing","sep":["[SEP]",3],"cls":["[CLS]",2],"trim_offsets":true,"add_prefix_space":true}`, "RobertaProcessing"},
		{processor, `{"type":"Sequence","processors":[` + processor + `]}`, "post_processor Sequence"},
		{processor, `{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true}`, "post_processor ByteLevel"},
		{processor, `null`, "post_processor (none)"},
		{processor, template(stepCLS), "0 times"},
		{processor, template(stepText + "," + stepText), "2 times"},
		{processor, template(`{"SpecialToken":{"id":"[CLS]","type_id":1}},` + stepText), "type id 1"},
	} {
		f, err := readFile(changed(t, tt.old, tt.new))
		if err != nil {
			t.Errorf("%s: %v", tt.new, err)
			continue
		}
		_, err = newWordPiece(f)
		var other *unsupportedError
		if !errors.As(err, &other) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want an unsupportedError with %s", tt.new, err, tt.says)
		}
	}
}

// changed is a small tokenizer.json with one part replaced.
func changed(t *testing.T, before, after string) []byte {
	t.Helper()
	data := small(before, after)
	if string(data) == string(small()) {
		t.Fatalf("%s is not in the file", before)
	}
	return data
}

// What no build does exactly is refused by every build.
func TestWhatNobodyDoesIsRefused(t *testing.T) {
	const added = `{"id":0,"content":"[PAD]","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}`
	for _, tt := range []struct{ old, new, says string }{
		{`{"added`, `{{"added`, "no tokenizer.json"},
		{`"added_tokens"`, "\"\xff\":1,\"added_tokens\"", "UTF-8"},
		{`{"added`, `{"new_part":1,"added`, `"new_part"`},
		{`{"added`, `{"Normalizer":null,"added`, `"Normalizer"`}, // the case of letters counts
		{`{"added`, `{"version":"2.0","added`, "version"},
		{`"vocab"`, `"words"`, "vocab is missing"},
		{`"type":"WordPiece"`, `"type":"WordSalad"`, "model WordSalad"},
		{`"type":"WordPiece",`, ``, "model (none)"},
		{`"type":"WordPiece"`, `"type":"WordPiece","sampling":0.1`, `"sampling"`},
		{`"type":"WordPiece"`, `"type":"BPE"`, "BPE: the field merges is missing"},
		{`"unk_token":"[UNK]"`, `"unk_token":"<unk>"`, "unk_token"},
		{`"max_input_chars_per_word":5`, `"max_input_chars_per_word":-1`, "max_input_chars_per_word"},
		{`"ab":7`, `"ab":-7`, "-7"},
		{`"ab":7`, `"ab":4294967296`, "4294967296"},
		{`"type":"BertNormalizer"`, `"type":"Bert"`, "normalizer Bert"},
		{`"clean_text":true`, `"clean_text":true,"new_feature":1`, `"new_feature"`},
		{`"clean_text":true,`, ``, "clean_text is missing"},
		{normalizer, `{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Rot13"}]}`, "normalizer Rot13"},
		{normalizer, `{"type":"Sequence","normalizers":[null]}`, "null"},
		{`"type":"BertPreTokenizer"`, `"type":"BertPreTokenizer","split":1`, `"split"`},
		{`"type":"BertPreTokenizer"`, `"type":"SudachiPreTokenizer"`, "SudachiPreTokenizer"},
		{`"type":"BertProcessing"`, `"type":"OtherProcessing"`, "OtherProcessing"},
		{`["[SEP]",3]`, `["[SEP]",3.5]`, "post_processor"},
		{`["[SEP]",3]`, `["[SEP]"]`, "[token, id]"},
		{`["[SEP]",3]`, `["[SEP]",-3]`, "-3"},
		{processor, template(`{"SpecialToken":{"id":"[SEP]","type_id":0}},` + stepText), `"[SEP]" is not among`},
		{processor, template(`{"Sequence":{"id":"B","type_id":0}}`), "Sequence B"},
		{processor, template(`{}`), "empty"},
		{processor, template(`{"SpecialToken":{"id":"[CLS]","type_id":0,"when":"last"}}`), `"when"`},
		{`"lstrip":false`, `"lstrip":false,"fuzzy":true`, `"fuzzy"`},
		{`"lstrip":false,`, ``, "lstrip is missing"},
		{`"content":"[PAD]"`, `"content":""`, "no content"},
		{added, added + `,` + added, "twice"},
		{`"id":0,`, `"id":1,`, "id 1 in the file"},
		{added, `{"id":99,"content":"[NEW]","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}`, "id 99 in the file"},
		{`{"added`, `{"padding":{"pad_id":10},"added`, "pad_id 10"},
	} {
		_, err := Parse(changed(t, tt.old, tt.new))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want it to name %s", tt.new, err, tt.says)
		}
	}
}

// What would fail in the middle of a text is refused when it is loaded.
func TestModelsThatCannotDoEveryTextAreRefused(t *testing.T) {
	for model, says := range map[string]string{
		`{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}`:                                                      "dropout",
		`{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"<unk>"}`:                                                "unk_token",
		`{"type":"WordLevel","vocab":{"a":0},"unk_token":"<unk>"}`:                                                      "unk_token",
		`{"type":"Unigram","vocab":[["a",0]]}`:                                                                          "unk_id",
		`{"type":"Unigram","vocab":[["a",0]],"unk_id":null}`:                                                            "unk_id",
		`{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":null}`:                                                     "",
		`{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.0,"unk_token":"a"}`:                                      "",
		`{"type":"Unigram","vocab":[["a",0]],"unk_id":0,"byte_fallback":true}`:                                          "",
		`{"type":"WordPiece","vocab":{},"unk_token":"x","continuing_subword_prefix":"##","max_input_chars_per_word":1}`: "unk_token",
	} {
		f, err := readFile([]byte(`{"model":` + model + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.checkUnknown(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", model, err, says)
		}
	}
}

func TestAddedTokensAreNumberedOn(t *testing.T) {
	const tail = `"special":false,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}`
	data := changed(t, `"added_tokens":[`, `"added_tokens":[{"id":10,"content":"new",`+tail+`,{"id":11,"content":"newer",`+tail+`,`)
	tok, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if ids, _ := tok.Encode(nil, "newer new", 0); len(ids) != 4 || ids[1] != 11 || ids[2] != 10 || tok.VocabSize() != 12 {
		t.Errorf("%v of %d", ids, tok.VocabSize())
	}
}

func TestLoadFindsThePaddingToken(t *testing.T) {
	for config, want := range map[string]int64{
		"": 0, `{}`: 0, `{"pad_token":null}`: 0, `{"pad_token":"ab"}`: 7, `{"pad_token":{"content":"ab"}}`: 7,
	} {
		dir := t.TempDir()
		if config != "" {
			write(t, filepath.Join(dir, "tokenizer_config.json"), []byte(config))
		}
		write(t, filepath.Join(dir, "tokenizer.json"), small())
		tok, err := Load(filepath.Join(dir, "tokenizer.json"))
		if err != nil || tok.PadID() != want {
			t.Errorf("%s: %v, error %v, want %d", config, tok, err, want)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tokenizer.json"), small())
	for _, broken := range []string{`{`, `{"pad_token":7}`, `{"pad_token":"unheard of"}`} {
		write(t, filepath.Join(dir, "tokenizer_config.json"), []byte(broken))
		if _, err := Load(filepath.Join(dir, "tokenizer.json")); err == nil || !strings.Contains(err.Error(), "tokenizer_config.json") {
			t.Errorf("%s: error %v", broken, err)
		}
	}
	if _, err := Load("testdata/no-such-file"); err == nil {
		t.Error("a missing file was loaded")
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever loads can tokenize, whatever build it is.
func FuzzParse(f *testing.F) {
	f.Add(small())
	f.Add(small(processor, template(stepCLS+","+stepText)))
	f.Add(small(normalizer, `{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Strip","strip_left":true,"strip_right":false}]}`))
	f.Add(small(`{"type":"BertPreTokenizer"}`, `{"type":"FixedLength","length":0}`))
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"continuing_subword_prefix":"##"}}`))
	f.Add([]byte(`{"model":{"type":"Unigram","vocab":[["<unk>",0],["a",-1]],"unk_id":0},"pre_tokenizer":{"type":"Metaspace","replacement":"▁"}}`))
	f.Add([]byte(`{"model":{"type":"WordLevel","vocab":{"<unk>":0,"a":7},"unk_token":"<unk>"},
		"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\s+"},"behavior":"Removed","invert":false}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			return
		}
		if pad := tok.PadID(); pad < 0 || pad > 0 && pad >= int64(tok.VocabSize()) {
			t.Errorf("pad %d of %d", pad, tok.VocabSize())
		}
		const text = "abc \x00é[PAD] <unk>\n"
		all, total := tok.Encode(nil, text, 0)
		cut, again := tok.Encode(nil, text, 4)
		if len(all) != total || again != total || tok.Count(text) != total || len(cut) > max(4, tok.Count("")) {
			t.Errorf("%d ids, total %d; cut %d, total %d; Count %d", len(all), total, len(cut), again, tok.Count(text))
		}
		for _, id := range all {
			if id < 0 || id >= int64(tok.VocabSize()) {
				t.Errorf("id %d of %d", id, tok.VocabSize())
			}
		}
	})
}
