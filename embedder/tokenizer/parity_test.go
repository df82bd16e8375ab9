package tokenizer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// unzipped is the content of a gzip file.
func unzipped(t testing.TB, path string) []byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if _, err := data.ReadFrom(unzip); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

func eachLine(t testing.TB, data []byte, read func([]byte) error) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := read(lines.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
}

// parityTexts are the strings of every script that tools/tokenizer/parity.py
// has asked the reference for.
func parityTexts(t testing.TB, dir string) []string {
	t.Helper()
	var texts []string
	eachLine(t, unzipped(t, filepath.Join(dir, "texts.jsonl.gz")), func(line []byte) error {
		var text struct {
			Text  string
			Bytes []byte
		}
		err := json.Unmarshal(line, &text)
		texts = append(texts, text.Text+string(text.Bytes))
		return err
	})
	if len(texts) < 2000 {
		t.Fatalf("%d texts, want 2000 or more", len(texts))
	}
	return texts
}

// family returns the tokenizer.json of a family of models.
func family(t testing.TB, name string) []byte {
	t.Helper()
	if name == "wordpiece-uncased" {
		data, err := os.ReadFile(modelFile())
		if err != nil {
			t.Fatalf("the real tokenizer is needed; `make setup` fetches it: %v", err)
		}
		return data
	}
	return unzipped(t, filepath.Join("testdata", name+".json.gz"))
}

// checkParity compares a tokenizer with the reference's ids of the texts,
// whole and cut.
func checkParity(t *testing.T, tok Tokenizer, dir, name string) {
	t.Helper()
	texts, i, wrong := parityTexts(t, dir), 0, 0
	var ids []int64
	eachLine(t, unzipped(t, filepath.Join(dir, name+".ids.gz")), func(line []byte) error {
		var whole, cut []int64
		var limit int
		if err := json.Unmarshal(line, &[]any{&whole, &limit, &cut}); err != nil {
			return err
		}
		text := texts[i]
		i++
		var total int
		for _, want := range []struct {
			limit int
			ids   []int64
		}{{0, whole}, {limit, cut}} {
			ids, total = tok.Encode(ids[:0], text, want.limit)
			if !slices.Equal(ids, want.ids) || total != len(whole) || tok.Count(text) != total {
				if wrong++; wrong <= 5 {
					t.Errorf("%.200q cut to %d:\n got %.100v\nwant %.100v\ntotal %d, Count %d, want %d",
						text, want.limit, ids, want.ids, total, tok.Count(text), len(whole))
				}
			}
		}
		return nil
	})
	if wrong > 0 || i != len(texts) {
		t.Errorf("%d of %d texts get other tokens than in the reference", wrong, i)
	}
}

// folders are the golden folder, and one of parity.sh's making if
// CHUNKTIDE_TEST_PARITY names it.
func folders() []string {
	dirs := []string{filepath.Join("testdata", "parity")}
	if more := os.Getenv("CHUNKTIDE_TEST_PARITY"); more != "" {
		dirs = append(dirs, more)
	}
	return dirs
}

func TestWordPieceParityWithTheReference(t *testing.T) {
	for _, name := range []string{"wordpiece-uncased", "wordpiece-cased"} {
		tok, err := Parse(family(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, inGo := tok.(*wordPiece); !inGo {
			t.Fatalf("%s is done by a %T", name, tok)
		}
		for _, dir := range folders() {
			checkParity(t, tok, dir, name)
		}
	}
}

// The control: a tokenizer that leaves out one step of normalisation does not
// pass.
func TestParityNoticesOneWrongStep(t *testing.T) {
	data := bytes.Replace(family(t, "wordpiece-cased"), []byte(`"handle_chinese_chars":true`), []byte(`"handle_chinese_chars":false`), 1)
	right, err := Parse(family(t, "wordpiece-cased"))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range parityTexts(t, folders()[0]) {
		a, _ := right.Encode(nil, text, 0)
		b, _ := wrong.Encode(nil, text, 0)
		if !slices.Equal(a, b) {
			return
		}
	}
	t.Error("no text of the golden data has a Chinese character that matters")
}
