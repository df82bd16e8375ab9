package backfill

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"chunktide/chunk"
)

// columns are those of a native event; under format: debezium the mapped ones
// count as well, and whatever begins with two underscores.
func (f *Files) columns() []string {
	names := []string{"op", "source", "document_id", "chunk_id", "position", "text", "metadata", "version", "ts", "before"}
	d := f.cfg.Events.Debezium
	if f.cfg.Events.Format == chunk.FormatDebezium {
		names = append(names, d.Source, d.DocumentID, d.ChunkID, d.Position, d.Text, d.Metadata)
	}
	return append(names, strings.TrimPrefix(d.Version, "column:"))
}

// table reads a Parquet file. Only the columns of an event are read: a column
// of vectors beside them costs nothing.
func (f *file) table(all *Files, in io.ReadCloser, from Cursor, yield func(Row) bool) error {
	reader, ok := in.(*os.File)
	if !ok {
		return errors.New("a Parquet file is read from its end")
	}
	t := &table{file: f, all: all, next: from.Row, yield: yield}
	err := guarded(func() error {
		whole, err := parquet.OpenFile(reader, f.info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		if t.schema, err = project(whole.Schema(), all.columns()); err != nil {
			return err
		}
		t.count, t.rows = whole.NumRows(), parquet.NewGenericReader[any](whole, t.schema)
		return t.rows.SeekToRow(from.Row)
	})
	if t.rows != nil {
		defer t.rows.Close()
	}
	if err != nil {
		return err
	}
	return t.read()
}

// guarded makes a panic of the Parquet library an error: a file that was cut or
// changed by hand must not take the process down. The library reads with
// unsafe pointers, so that a fault counts as a panic here.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet file is broken: %v", p)
		}
	}()
	return do()
}

// project keeps the wanted columns of a schema.
func project(schema *parquet.Schema, wanted []string) (*parquet.Schema, error) {
	kept := parquet.Group{}
	for _, field := range schema.Fields() {
		if slices.Contains(wanted, field.Name()) || strings.HasPrefix(field.Name(), "__") {
			kept[field.Name()] = field
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("it has none of the columns %s", strings.Join(wanted, ", "))
	}
	return parquet.NewSchema(schema.Name(), kept), nil
}

// table is a Parquet file being read.
type table struct {
	file   *file
	all    *Files
	schema *parquet.Schema
	rows   *parquet.GenericReader[any]
	count  int64
	next   int64
	yield  func(Row) bool
}

// pageRows is how many rows are taken from the reader at once.
const pageRows = 64

func (t *table) read() error {
	buffer := make([]any, pageRows)
	for {
		clear(buffer)
		n := 0
		err := guarded(func() (err error) {
			n, err = t.rows.Read(buffer)
			return err
		})
		for _, value := range buffer[:n] {
			if !t.yield(t.row(value)) {
				return errStopped
			}
		}
		switch {
		case errors.Is(err, io.EOF) && t.next != t.count:
			return fmt.Errorf("it ends after %d of its %d rows", t.next, t.count)
		case errors.Is(err, io.EOF):
			return t.file.unchanged()
		case err != nil:
			return err
		case n == 0:
			return io.ErrNoProgress
		}
	}
}

// row makes JSON of a row, so that there is one decoder for all.
func (t *table) row(value any) Row {
	t.next++
	row := Row{
		Place: Place{File: t.file.name, Row: t.next},
		Next:  Cursor{File: t.file.index, Row: t.next},
		Done:  t.file.before + int64(float64(t.file.info.Size())*float64(t.next)/float64(t.count)),
	}
	plain, err := plainValue(t.schema, value)
	if err == nil {
		row.Raw, err = json.Marshal(plain)
	}
	if err != nil {
		row.Err = chunk.Permanent(chunk.ReasonWrongType, err)
		return row
	}
	row.Events, row.Err = t.all.decode(row.Raw)
	return row
}
