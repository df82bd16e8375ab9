package backfill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"chunktide/chunk"
)

func events() chunk.DecoderConfig {
	cfg := chunk.DefaultDecoderConfig()
	cfg.DefaultSource = "docs"
	return cfg
}

func open(t testing.TB, cfg FilesConfig) *Files {
	t.Helper()
	if cfg.Events.Format == "" {
		cfg.Events = events()
	}
	f, err := OpenFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// said is what a reading of an input yields, in short.
func said(t testing.TB, in Input, from Cursor) (out []string, rows []Row, err error) {
	t.Helper()
	for row, rowErr := range in.Rows(t.Context(), from) {
		if rowErr != nil {
			return out, rows, rowErr
		}
		rows = append(rows, row)
		line := fmt.Sprint(filepath.Base(row.Place.File), ":", row.Place.Row)
		if reason, bad := chunk.ReasonOf(row.Err); bad {
			line += " " + string(reason)
		}
		for _, e := range row.Events {
			line += fmt.Sprintf(" %s %s/%s/%s@%d %q", e.Op, e.Source, e.DocumentID, e.ChunkID, e.Version, e.Text)
		}
		out = append(out, line)
	}
	return out, rows, nil
}

func expect(t testing.TB, got []string, err error, want ...string) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
}

const someLines = "\xef\xbb\xbf" + `{"document_id":"a","chunk_id":"1","text":"one","version":5}

{"broken
{"op":"delete","document_id":"a","chunk_id":"2"}` + "\r\n" + `{"document_id":"a","chunk_id":"3","text":"three"}`

func TestLinesHaveTheirPlaceAndAVersion(t *testing.T) {
	want := []string{`x.jsonl:1 upsert docs/a/1@5 "one"`, `x.jsonl:3 broken_json`, `x.jsonl:4 delete docs/a/2@50 ""`, `x.jsonl:5 upsert docs/a/3@50 "three"`}
	f := open(t, FilesConfig{Paths: []string{put(t, "x.jsonl", someLines)}, AsOf: AsOf{Version: 50}})
	got, rows, err := said(t, f, Cursor{})
	expect(t, got, err, want...)
	if last := rows[len(rows)-1]; last.Done != f.Total() {
		t.Errorf("%d of %d bytes are behind the last row", last.Done, f.Total())
	}
	// From each cursor on, what follows it.
	for i, row := range rows {
		again, _, err := said(t, f, row.Next)
		expect(t, again, err, append([]string(nil), want[i+1:]...)...)
	}
	got, _, err = said(t, open(t, FilesConfig{Paths: []string{Stdin}, Stdin: strings.NewReader(someLines), AsOf: AsOf{Version: 50}}), Cursor{})
	if err != nil || len(got) != len(want) || !strings.HasPrefix(got[1], "standard input:3 broken_json") {
		t.Errorf("standard input: %q, %v", got, err)
	}
}

func TestEventsNameBadRowsAndGoOn(t *testing.T) {
	f := open(t, FilesConfig{Paths: []string{put(t, "x.jsonl", someLines)}, AsOf: AsOf{Version: 50}})
	good, bad := 0, []string{}
	for _, err := range Events(t.Context(), f) {
		var row *BadRow
		switch {
		case errors.As(err, &row):
			bad = append(bad, row.Error())
		case err != nil:
			t.Fatal(err)
		default:
			good++
		}
	}
	if good != 3 || len(bad) != 1 || !strings.Contains(bad[0], "x.jsonl:3: ") || strings.Contains(bad[0], "broken\n") {
		t.Errorf("%d events, bad rows %q", good, bad)
	}
}

func TestALineTooLongIsPassedOver(t *testing.T) {
	cfg := events()
	cfg.Limits.RecordBytes = 100_000
	long := `{"document_id":"a","chunk_id":"2","text":"` + strings.Repeat("x", 100_000) + `"}`
	f := open(t, FilesConfig{Events: cfg, Paths: []string{put(t, "x.jsonl", `{"document_id":"a","chunk_id":"1","text":"one","version":5}`+"\n"+long+"\n"+
		`{"document_id":"a","chunk_id":"3","text":"three","version":5}`)}})
	got, rows, err := said(t, f, Cursor{})
	expect(t, got, err, `x.jsonl:1 upsert docs/a/1@5 "one"`, `x.jsonl:2 too_large`, `x.jsonl:3 upsert docs/a/3@5 "three"`)
	if rows[1].Raw != nil {
		t.Error("the long line is kept")
	}
}

func TestPatternsAndNames(t *testing.T) {
	dir := t.TempDir()
	row := `{"document_id":"a","chunk_id":"%s","text":"t","version":1}`
	for _, name := range []string{"b.jsonl", "a.jsonl", "[c].ndjson"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, row, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := open(t, FilesConfig{Paths: []string{filepath.Join(dir, "[c].ndjson"), filepath.Join(dir, "*.jsonl"), filepath.Join(dir, "a.jsonl")}})
	got, _, err := said(t, f, Cursor{})
	expect(t, got, err, `[c].ndjson:1 upsert docs/a/[c].ndjson@1 "t"`, `a.jsonl:1 upsert docs/a/a.jsonl@1 "t"`, `b.jsonl:1 upsert docs/a/b.jsonl@1 "t"`)
	for name, paths := range map[string][]string{
		"no such file": {filepath.Join(dir, "*.parquet")}, "a folder": {dir}, "name at least one": {}, "--format": {put(t, "x.csv", "")},
	} {
		if _, err := OpenFiles(FilesConfig{Paths: paths, Events: events()}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v, want it to say %q", paths, err, name)
		}
	}
}

// A file of another kind must not end as a file of rejects.
func TestAHopelessBeginningEndsIt(t *testing.T) {
	f := open(t, FilesConfig{Paths: []string{put(t, "x.jsonl", strings.Repeat("no row\n", 100))}})
	got, _, err := said(t, f, Cursor{})
	if err == nil || len(got) != hopeless-1 {
		t.Errorf("%d rows, %v", len(got), err)
	}
	// The control: after a good row any number of bad ones is read over.
	f = open(t, FilesConfig{Paths: []string{put(t, "x.jsonl", `{"document_id":"a","chunk_id":"1","text":"one","version":5}`+"\n"+strings.Repeat("no row\n", 100))}})
	if got, _, err := said(t, f, Cursor{}); err != nil || len(got) != 101 {
		t.Errorf("%d rows, %v", len(got), err)
	}
}

func TestIdentityFollowsContentAndSettings(t *testing.T) {
	path := put(t, "x.jsonl", someLines)
	identity := func(change func(*FilesConfig)) string {
		cfg := FilesConfig{Paths: []string{path}, AsOf: AsOf{Version: 50}, Events: events()}
		change(&cfg)
		return open(t, cfg).Identity()
	}
	same := func(*FilesConfig) {}
	first := identity(same)
	if first == "" || identity(same) != first {
		t.Fatalf("%q, then %q", first, identity(same))
	}
	if identity(func(c *FilesConfig) { c.AsOf.Version++ }) == first || identity(func(c *FilesConfig) { c.Events.OnEmpty = chunk.OnEmptyDeadLetter }) == first {
		t.Error("settings that change the events change no identity")
	}
	if identity(func(c *FilesConfig) { c.Paths, c.Stdin = []string{Stdin}, strings.NewReader("") }) != "" {
		t.Error("standard input has an identity")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// Other content of the same size and time.
	if err := os.WriteFile(path, []byte(strings.Replace(someLines, "three", "thr33", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if identity(same) == first {
		t.Error("other content has the same identity")
	}
}

func TestAFileThatGrowsIsRefused(t *testing.T) {
	path := put(t, "x.jsonl", someLines)
	f := open(t, FilesConfig{Paths: []string{path}, AsOf: AsOf{Version: 50}})
	if err := os.WriteFile(path, []byte(someLines+"\n"+someLines), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := said(t, f, Cursor{}); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("%v", err)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	f := open(t, FilesConfig{Paths: []string{put(t, "x.jsonl", someLines)}, AsOf: AsOf{Version: 50}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range f.Rows(ctx, Cursor{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

// Both files hold the same four rows, written by another program than our
// library: testdata/README.md says how.
func TestParquetOfAnotherWriter(t *testing.T) {
	for _, name := range []string{"zstd-v1.parquet", "snappy-v2.parquet"} {
		f := open(t, FilesConfig{Paths: []string{filepath.Join("testdata", name)}, AsOf: AsOf{Version: 50}})
		got, rows, err := said(t, f, Cursor{})
		want := []string{
			name + `:1 upsert docs/handbook/intro@9007199254740991 "Welcome."`, name + `:2 upsert docs/handbook/outro@7 "Grüße, 世界."`,
			name + `:3 upsert docs/handbook/third@50 "Third."`, name + `:4 no_identity`,
		}
		expect(t, got, err, want...)
		if len(rows) != 4 {
			continue
		}
		first := rows[0].Events[0]
		if at := time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC); !first.Time.Equal(at) {
			t.Errorf("time %s, want %s", first.Time, at)
		}
		metadata := map[string]any{
			"lang": "en", "n": int64(1), "tags": []any{"a", "b"}, "score": 1.5, "ok": true, "day": "2026-01-02",
			"at": "2026-01-02T03:04:05.5Z", "props": map[string]any{"k": "v"},
		}
		if !reflect.DeepEqual(first.Metadata, metadata) {
			t.Errorf("%s: metadata %v, want %v", name, first.Metadata, metadata)
		}
		for i, row := range rows {
			again, _, err := said(t, f, row.Next)
			expect(t, again, err, append([]string(nil), want[i+1:]...)...)
		}
		if rows[3].Done != f.Total() {
			t.Errorf("%d of %d are behind the last row", rows[3].Done, f.Total())
		}
	}
}

// A column of vectors beside the text must cost nothing.
func TestOnlyTheColumnsOfEventsAreRead(t *testing.T) {
	type row struct {
		DocumentID string    `parquet:"document_id"`
		ChunkID    string    `parquet:"chunk_id"`
		Text       string    `parquet:"text"`
		Vector     []float64 `parquet:"vector"`
	}
	rows := make([]row, 200)
	for i := range rows {
		rows[i] = row{"d", fmt.Sprint(i), "text", make([]float64, 1000)}
		for j := range rows[i].Vector {
			rows[i].Vector[j] = float64(i*j) * 1.000001
		}
	}
	var data bytes.Buffer
	if err := parquet.Write(&data, rows); err != nil {
		t.Fatal(err)
	}
	whole, err := parquet.OpenFile(bytes.NewReader(data.Bytes()), int64(data.Len()))
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, FilesConfig{Paths: []string{put(t, "x.parquet", data.String())}})
	schema, err := project(whole.Schema(), f.columns())
	if err != nil {
		t.Fatal(err)
	}
	counted := &countedReads{in: bytes.NewReader(data.Bytes())}
	projected, err := parquet.OpenFile(counted, int64(data.Len()))
	if err != nil {
		t.Fatal(err)
	}
	reader := parquet.NewGenericReader[any](projected, schema)
	defer reader.Close()
	n, err := reader.Read(make([]any, len(rows)))
	if n != len(rows) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%d rows, %v", n, err)
	}
	if counted.bytes > data.Len()/4 {
		t.Errorf("read %d of the file's %d bytes", counted.bytes, data.Len())
	}
}

type countedReads struct {
	in    io.ReaderAt
	bytes int
}

func (c *countedReads) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.in.ReadAt(p, at)
	c.bytes += n
	return n, err
}

func TestABrokenParquetFileIsAnError(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "zstd-v1.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	broken := map[string][]byte{"no Parquet": []byte(someLines), "empty": {}}
	for n := 1; n < len(data); n += 97 {
		broken[fmt.Sprint("the first ", n, " bytes")] = data[:n]
	}
	// Its pages overwritten, and its footer left.
	wiped := bytes.Clone(data)
	clear(wiped[4 : len(data)/4])
	broken["pages of zeros"] = wiped
	for name, content := range broken {
		f := open(t, FilesConfig{Paths: []string{put(t, "x.parquet", string(content))}, AsOf: AsOf{Version: 50}})
		if _, _, err := said(t, f, Cursor{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
