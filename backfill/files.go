package backfill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chunktide/chunk"
)

// The formats of files.
const (
	FormatJSONL   = "jsonl"
	FormatParquet = "parquet"
)

// Stdin is the name that stands for standard input, which is JSONL.
const Stdin = "-"

// FilesConfig says which files to read, and how.
type FilesConfig struct {
	// Paths are files, patterns ([filepath.Match]) and [Stdin]. The files of a
	// pattern are read in the order of their names.
	Paths []string
	Stdin io.Reader
	// Format is [FormatJSONL] or [FormatParquet]; empty goes by the files' names.
	Format string
	// AsOf is for rows without a version; zero makes them malformed.
	AsOf AsOf
	// Events says what the rows look like; see [chunk.Decoder.DecodeRow].
	Events chunk.DecoderConfig
}

// Files are JSONL and Parquet files, read one after the other. It implements
// [Input].
type Files struct {
	cfg     FilesConfig
	decoder *chunk.Decoder
	files   []file
	total   int64
}

var _ Input = (*Files)(nil)

// file is one of them.
type file struct {
	name, format string
	// index is its place among the files, before what comes before it in bytes.
	index  int
	before int64
	// info is nil for standard input.
	info os.FileInfo
}

// OpenFiles finds the files; it reads none of them yet.
func OpenFiles(cfg FilesConfig) (*Files, error) {
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return nil, err
	}
	f := &Files{cfg: cfg, decoder: decoder}
	names, err := expand(cfg.Paths)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		one := file{name: name, format: cfg.Format, index: len(f.files), before: f.total}
		if name == Stdin {
			if cfg.Format == FormatParquet {
				return nil, errors.New("standard input must be JSONL: a Parquet file is read from its end")
			}
			one.name, one.format = "standard input", FormatJSONL
		} else if err := one.look(); err != nil {
			return nil, err
		} else {
			f.total += one.info.Size()
		}
		f.files = append(f.files, one)
	}
	return f, nil
}

// expand turns paths and patterns into names, each once.
func expand(paths []string) ([]string, error) {
	var names []string
	for _, p := range paths {
		found := []string{p}
		// A name that is there is no pattern, whatever characters it has.
		if _, err := os.Stat(p); err != nil && p != Stdin {
			if found, err = filepath.Glob(p); err != nil {
				return nil, fmt.Errorf("%s is no pattern: %w", p, err)
			}
			if len(found) == 0 {
				return nil, fmt.Errorf("%s: there is no such file, and none that matches", p)
			}
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil, errors.New("name at least one file")
	}
	return names, nil
}

// look finds out what a named file is.
func (f *file) look() error {
	var err error
	if f.info, err = os.Stat(f.name); err != nil {
		return err
	}
	if f.info.IsDir() {
		return fmt.Errorf("%s is a folder: give a pattern such as %s", f.name, filepath.Join(f.name, "*.jsonl"))
	}
	if f.format != "" {
		return nil
	}
	switch strings.ToLower(filepath.Ext(f.name)) {
	case ".jsonl", ".ndjson", ".json":
		f.format = FormatJSONL
	case ".parquet", ".pq":
		f.format = FormatParquet
	default:
		return fmt.Errorf("%s is neither .jsonl nor .parquet by its name: say which with --format, or unpack it into standard input", f.name)
	}
	return nil
}

// First is the name of the first file, "" for standard input.
func (f *Files) First() string {
	if f.files[0].info == nil {
		return ""
	}
	return f.files[0].name
}

// Total is the size of all files in bytes.
func (f *Files) Total() int64 {
	if slices.ContainsFunc(f.files, func(one file) bool { return one.info == nil }) {
		return 0
	}
	return f.total
}

// probe is how much of each end of a file its identity covers.
const probe = 64 << 10

// Identity covers each file's name, size, time and ends, and what determines
// the events of its rows. A file that cannot be read gives none.
func (f *Files) Identity() string {
	if f.Total() == 0 {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "files 1 %d %d %+v", f.cfg.AsOf.Version, f.cfg.AsOf.Time.UnixNano(), f.cfg.Events)
	for _, one := range f.files {
		path, err := filepath.Abs(one.name)
		if err != nil {
			return ""
		}
		ends, err := one.ends()
		if err != nil {
			return ""
		}
		fmt.Fprintf(h, " %q %s %d %d %x", path, one.format, one.info.Size(), one.info.ModTime().UnixNano(), ends)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (f *file) ends() ([sha256.Size]byte, error) {
	in, err := os.Open(f.name)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer in.Close()
	var both bytes.Buffer
	for _, from := range []int64{0, max(0, f.info.Size()-probe)} {
		if _, err := io.Copy(&both, io.NewSectionReader(in, from, probe)); err != nil {
			return [sha256.Size]byte{}, err
		}
	}
	return sha256.Sum256(both.Bytes()), nil
}

// Rows reads all files. If nothing but malformed rows stand at the beginning
// it ends with an error: then the settings are wrong, and not the rows.
func (f *Files) Rows(ctx context.Context, from Cursor) iter.Seq2[Row, error] {
	return hopeful(from, func(yield func(Row, error) bool) {
		for i := from.File; i < len(f.files); i++ {
			start := Cursor{File: i}
			if i == from.File {
				start = from
			}
			for row, err := range f.files[i].rows(ctx, f, start) {
				if err == nil {
					err = ctx.Err()
				}
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	})
}

// rows reads one file. Its last row's Next is the beginning of the next file.
func (f *file) rows(ctx context.Context, all *Files, from Cursor) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		in, err := f.open(ctx, all.cfg.Stdin)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer in.Close()
		read := f.lines
		if f.format == FormatParquet {
			read = f.table
		}
		if err := read(all, in, from, func(r Row) bool { return yield(r, nil) }); err != nil && !errors.Is(err, errStopped) {
			yield(Row{}, fmt.Errorf("read %s: %w", f.name, err))
		}
	}
}

// errStopped says that nobody wants more rows.
var errStopped = errors.New("stopped")

func (f *file) open(ctx context.Context, stdin io.Reader) (io.ReadCloser, error) {
	if f.info == nil {
		return io.NopCloser(newPatient(ctx, stdin)), nil
	}
	return os.Open(f.name)
}

// unchanged is an error if the file is no longer what it was at the start: a
// row may have been read half written, or not at all.
func (f *file) unchanged() error {
	if f.info == nil {
		return nil
	}
	now, err := os.Stat(f.name)
	if err != nil {
		return err
	}
	if now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return errors.New("it changed while it was read: let whoever writes it finish, and start again")
	}
	return nil
}

// lines reads JSONL.
func (f *file) lines(all *Files, in io.ReadCloser, from Cursor, yield func(Row) bool) error {
	if from.Byte > 0 {
		seeker, ok := in.(io.Seeker)
		if !ok {
			return errors.New("it cannot be read from the middle")
		}
		if _, err := seeker.Seek(from.Byte, io.SeekStart); err != nil {
			return err
		}
	}
	reader := newLineReader(in, all.cfg.Events.Limits.RecordBytes)
	for number := from.Row + 1; ; number++ {
		line, tooLong, err := reader.next()
		if errors.Is(err, io.EOF) {
			return f.unchanged()
		}
		if err != nil {
			return err
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // Windows' mark of UTF-8
		}
		if len(bytes.TrimSpace(line)) == 0 && !tooLong {
			continue
		}
		row := Row{
			Place: Place{File: f.name, Row: number}, Raw: line,
			Next: Cursor{File: f.index, Row: number, Byte: from.Byte + reader.at}, Done: f.before + from.Byte + reader.at,
		}
		if tooLong {
			row.Err = chunk.Permanentf(chunk.ReasonTooLarge, "the line is longer than %d bytes (events.limits.record_bytes)", all.cfg.Events.Limits.RecordBytes)
		} else {
			row.Events, row.Err = all.decode(line)
		}
		if !yield(row) {
			return errStopped
		}
	}
}

func (f *Files) decode(value []byte) ([]chunk.Event, error) {
	return f.decoder.DecodeRow(chunk.Row{Value: value, AsOf: f.cfg.AsOf.Version, Time: f.cfg.AsOf.Time})
}
