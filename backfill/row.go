package backfill

import (
	"context"
	"fmt"
	"iter"

	"chunktide/chunk"
)

// Place says where a row stands, for people.
type Place struct {
	// File is the file's name, "standard input", or the collection.
	File string
	// Row is the line of a JSONL file or the row of a Parquet file, from 1;
	// zero for a collection.
	Row int64
	// ID is the point, for a collection.
	ID chunk.ID
}

// String is file:row, or collection/id.
func (p Place) String() string {
	if p.Row == 0 {
		return fmt.Sprintf("%s/%s", p.File, p.ID)
	}
	return fmt.Sprintf("%s:%d", p.File, p.Row)
}

// Cursor is a place in an input from which it can be read on. The zero Cursor
// is the beginning. Only the input that made one understands it.
type Cursor struct {
	// File, Row and Byte are for files: of the file with that index the row, the
	// first being 0, and in a JSONL file the byte that it begins at.
	File int   `json:"file,omitempty"`
	Row  int64 `json:"row,omitempty"`
	Byte int64 `json:"byte,omitempty"`
	// After is the last point that was read of a collection.
	After string `json:"after,omitempty"`
}

// Row is one row of an input, decoded.
type Row struct {
	Place Place
	// Events are what the row says: mostly one.
	Events []chunk.Event
	// Err is why there are none: a permanent error, nil for a row that is well.
	Err error
	// Raw is the row as it was read, for the rejects; nil where it was too long
	// to be kept. It is valid until the next row is read.
	Raw []byte
	// Next is where the input goes on after this row.
	Next Cursor
	// Done is how much of [Input.Total] lies behind this row.
	Done int64
}

// Input is what a backfill reads.
type Input interface {
	// Rows reads from a place on. An error, which is not a row's, is the last
	// that it yields: the input cannot be read on.
	Rows(ctx context.Context, from Cursor) iter.Seq2[Row, error]
	// Identity names the input and its content, as far as that can be told
	// without reading it all: if it is the same, a cursor is too. It is empty if
	// nothing tells, and then no cursor may be kept.
	Identity() string
	// Total is how much there is to read, in units that only [Row.Done] shares;
	// 0 if that is not known.
	Total() int64
}

// BadRow is a row that is no event.
type BadRow struct {
	Place Place
	// Err is permanent and never shows the row's text.
	Err error
}

func (b *BadRow) Error() string { return fmt.Sprintf("%s: %v", b.Place, b.Err) }

// Unwrap returns the cause.
func (b *BadRow) Unwrap() error { return b.Err }

// Events are the events of an input from its beginning, for whoever compares
// it with an index. With a malformed row it yields a *[BadRow] and goes on;
// any other error is the last.
func Events(ctx context.Context, in Input) iter.Seq2[chunk.Event, error] {
	return func(yield func(chunk.Event, error) bool) {
		for row, err := range in.Rows(ctx, Cursor{}) {
			if err == nil && row.Err != nil {
				err = &BadRow{Place: row.Place, Err: row.Err}
			}
			if err != nil {
				if !yield(chunk.Event{}, err) {
					return
				}
				continue
			}
			for _, e := range row.Events {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// hopeless is how many rows at the start may be malformed before the input
// counts as something else than what it was taken for.
const hopeless = 16

// hopeful ends a reading with an error if nothing but malformed rows stand at
// the beginning: then the settings are at fault, and a file of rejects as
// large as the input would help nobody.
func hopeful(from Cursor, rows iter.Seq2[Row, error]) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		bad, good := 0, from != (Cursor{})
		for row, err := range rows {
			good = good || err == nil && row.Err == nil
			if err == nil && !good {
				if bad++; bad == hopeless {
					err = fmt.Errorf("%s: the first %d rows are all malformed; is the input what it is taken for, and do the settings fit it? The last: %w",
						row.Place, hopeless, row.Err)
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}
