package backfill

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"chunktide/chunk"
)

// Stored is a collection whose content can be read, whatever model its vectors
// follow.
type Stored interface {
	// Events visits, in the order of ids, the event that would make each point,
	// from the point after the given one on; the zero ID is the beginning. A
	// permanent error says that a point is none of ours. Tombstones are deletes.
	// It returns visit's error as it is.
	Events(ctx context.Context, after chunk.ID, visit func(id chunk.ID, e chunk.Event, err error) error) error
}

// Collection reads another index in place of the topic: its text, names,
// metadata and versions, and its tombstones, so that what was deleted stays
// deleted. It is no snapshot: what changes there meanwhile may be seen before
// or after, and is for the live stream to bring. It implements [Input].
type Collection struct {
	name   string
	digest string
	points int64
	stored Stored
}

var _ Input = (*Collection)(nil)

// NewCollection reads a collection of so many points. Model is the digest of
// the recipe that its vectors follow.
func NewCollection(name, model string, points int64, stored Stored) *Collection {
	return &Collection{name: name, digest: model, points: points, stored: stored}
}

// Total is the number of points at the start.
func (c *Collection) Total() int64 { return c.points }

// Identity is the collection's name and model. Its points are in the order of
// their ids, which never change, so that a cursor stays good while they do.
func (c *Collection) Identity() string { return "collection 1 " + c.name + " " + c.digest }

// Rows reads all points after the cursor's.
func (c *Collection) Rows(ctx context.Context, from Cursor) iter.Seq2[Row, error] {
	return hopeful(from, func(yield func(Row, error) bool) {
		var after chunk.ID
		if from.After != "" {
			var err error
			if after, err = chunk.ParseID(from.After); err != nil {
				yield(Row{}, fmt.Errorf("the checkpoint is not understood: %w", err))
				return
			}
		}
		done := from.Row
		err := c.stored.Events(ctx, after, func(id chunk.ID, e chunk.Event, err error) error {
			done++
			row := Row{
				Place: Place{File: c.name, ID: id}, Err: err, Done: min(done, c.points),
				Next: Cursor{After: id.String(), Row: done},
			}
			if err == nil {
				row.Events, row.Raw = []chunk.Event{e}, native(&e)
			}
			if !yield(row, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && err != errStopped { //nolint:errorlint // it comes back as it is
			yield(Row{}, fmt.Errorf("read collection %s: %w", c.name, err))
		}
	})
}

// native is an event as a producer would write it.
func native(e *chunk.Event) []byte {
	op := "upsert"
	if e.Op != chunk.Upsert {
		op = "delete"
	}
	raw, err := json.Marshal(struct {
		Op         string         `json:"op"`
		Source     string         `json:"source"`
		DocumentID string         `json:"document_id"`
		ChunkID    string         `json:"chunk_id,omitempty"`
		Position   int64          `json:"position,omitempty"`
		Text       string         `json:"text,omitempty"`
		Metadata   map[string]any `json:"metadata,omitempty"`
		Version    chunk.Version  `json:"version"`
		Time       time.Time      `json:"ts,omitzero"`
	}{op, e.Source, e.DocumentID, e.ChunkID, e.Position, e.Text, e.Metadata, e.Version, e.Time})
	if err != nil {
		return nil // a number that JSON does not have; the event is rejected whole all the same
	}
	return raw
}
