package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// Stored reads one collection by its name, whatever model its vectors follow:
// its texts are as good for any other.
type Stored struct{ reader }

// OpenStored connects to a collection that Chunktide made; it changes nothing.
// The keys of text and metadata must be those that it was written with.
func OpenStored(ctx context.Context, cfg Config, collection string, logger *slog.Logger, reg prometheus.Registerer) (*Stored, error) {
	c, err := dial(cfg, logger, reg)
	if err != nil {
		return nil, err
	}
	s := &Stored{reader{client: c, collection: collection}}
	exists, err := s.exists(ctx, collection)
	if err == nil && !exists {
		err = errors.New("there is none of that name")
	}
	if err == nil {
		s.model, err = s.Pin(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read collection %s: %w", collection, err), s.Close())
	}
	return s, nil
}

// Model is the recipe that the vectors follow.
func (s *Stored) Model() Model { return s.model }

// Points counts all points, tombstones included, exactly.
func (s *Stored) Points(ctx context.Context) (int, error) { return s.count(ctx, nil) }

// Events visits, in the order of ids, the event that would make each point,
// from the point after the given one on; the zero ID is the beginning. It has
// the version, origin and time that are stored, and a tombstone is a delete of
// its chunk or document. A permanent error stands for a point that is not
// ours. It returns visit's error as it is. Like [Sink.Scroll] it is no
// snapshot.
func (s *Stored) Events(ctx context.Context, after chunk.ID, visit func(id chunk.ID, e chunk.Event, err error) error) error {
	var from *qdrant.PointId
	if after != (chunk.ID{}) {
		from = pointID(after)
	}
	// A page of texts must fit into one answer, so it is as many points as a
	// write.
	return s.scrollFrom(ctx, from, uint32(s.cfg.RequestPoints), nil, qdrant.NewWithPayload(true), func(r Record) error {
		if r.ID == after && after != (chunk.ID{}) {
			return nil
		}
		e, err := s.event(&r)
		return visit(r.ID, e, err)
	})
}

// event is what made a point.
func (s *Stored) event(r *Record) (chunk.Event, error) {
	e := chunk.Event{
		Op: chunk.Upsert, ID: r.ID, Source: r.Source, DocumentID: r.DocumentID, ChunkID: r.ChunkID,
		Version: r.Version, Time: r.EventTime, Origin: r.origin(),
	}
	switch {
	case r.ID == (chunk.ID{}) || r.Source == "" || r.DocumentID == "" || !r.Version.Valid():
		return chunk.Event{}, chunk.Permanentf(chunk.ReasonNoIdentity, "the point has no source, document or version: Chunktide did not write it")
	case r.Tombstone && r.ChunkID == "":
		e.Op = chunk.DeleteDocument
	case r.Tombstone:
		e.Op = chunk.Delete
	case r.Text == "":
		return chunk.Event{}, chunk.Permanentf(chunk.ReasonEmptyText, "the point has no text under %q: set qdrant.text_key to what the collection was written with", s.cfg.TextKey)
	default:
		e.Position, e.Text, e.Metadata = r.Position, r.Text, r.Metadata
	}
	return e, nil
}

// Notes returns the metadata of the collection beside the pin; see
// [Admin.Notes].
func (c *reader) Notes(ctx context.Context) (map[string]any, error) {
	info, err := c.info(ctx, c.collection)
	if err != nil {
		return nil, err
	}
	return notesOf(info.GetConfig().GetMetadata()), nil
}

// FedBy reports whether a consumer group has written to the collection.
func (c *reader) FedBy(ctx context.Context, group string) (bool, error) {
	notes, err := c.Notes(ctx)
	return notes[noteGroup+group] != nil, err
}

// Note merges notes into the metadata of the sink's collection; see
// [Admin.Note].
func (s *Sink) Note(ctx context.Context, notes map[string]any) error {
	return s.note(ctx, s.collection, notes)
}

// AnyVersion returns the highest version among the first points of the
// collection, and whether there is any: enough to tell what versions count
// there.
func (c *reader) AnyVersion(ctx context.Context) (highest chunk.Version, ok bool, err error) {
	enough := errors.New("enough")
	seen := 0
	err = c.scroll(ctx, nil, ownOnly(), func(r Record) error {
		highest = max(highest, r.Version)
		if seen++; seen == pageSize {
			return enough
		}
		return nil
	})
	if err == enough { //nolint:errorlint // it comes back as it is
		err = nil
	}
	return highest, highest > 0, err
}
