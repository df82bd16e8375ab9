package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"chunktide/chunk"
	"chunktide/pipeline"
)

// Repair sends the named differences through a pipeline, and nothing else: the
// source's event where a chunk is missing, stale, or has the wrong vector, and
// a tombstone at the version that was seen where it should not live. The
// tombstone keeps the origin of what it ends, so a chunk that the source brings
// back later, under a higher version, lives again.
//
// Each write is conditional on the state that was seen. Whether it sufficed the
// next Run tells. Named differences that could not be made good say why in
// Refused.
func Repair(ctx context.Context, cfg pipeline.Config, parts Parts, differences []Difference) error {
	if len(differences) == 0 {
		return nil
	}
	r := &repair{parts: parts, seen: map[chunk.ID]chunk.Stored{}, byID: map[chunk.ID]*Difference{}, fresh: map[chunk.Hash]bool{}}
	for i := range differences {
		d := &differences[i]
		r.byID[d.ID] = d
		if d.suspect.there {
			r.seen[d.ID] = d.suspect.seen
		}
		if o := d.suspect.want; o != nil && d.Kind == Misassigned {
			r.fresh[o.hash] = true
		}
	}
	events := make(chan chunk.Event)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(events)
		return r.events(ctx, differences, func(e chunk.Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	group.Go(func() error {
		line := pipeline.New(cfg, pipeline.Parts{
			Source: &mending{repair: r, events: events}, Encoder: parts.Encoder, Cache: mistrustful{parts.Cache, r.fresh},
			Sink: r, Logger: parts.Logger,
		})
		return line.Run(ctx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("repair %d points: %w", len(differences), err)
	}
	return nil
}

type repair struct {
	parts Parts
	byID  map[chunk.ID]*Difference
	seen  map[chunk.ID]chunk.Stored
	fresh map[chunk.Hash]bool
}

// events makes the events of a repair: first those that end something, then,
// reading the source again, those that it has.
func (r *repair) events(ctx context.Context, differences []Difference, send func(chunk.Event) error) error {
	places, texts := map[Place]*Difference{}, map[Place]string{}
	for i := range differences {
		d := &differences[i]
		o := d.suspect.want
		switch {
		case d.suspect.ends():
			if err := send(end(d)); err != nil {
				return err
			}
			continue
		case o == nil:
			d.Refused = "the source does not have this version: backfill the chunk from where it came"
			continue
		}
		places[o.place] = d
		if o.text != o.place {
			texts[o.text] = ""
		}
	}
	if len(places) == 0 {
		return nil
	}
	if err := r.texts(ctx, texts); err != nil {
		return err
	}
	left := len(places)
	_, err := r.parts.Source.Visit(ctx, func(e *chunk.Event, at Place) error {
		d := places[at]
		if d == nil {
			return nil
		}
		if e.ID != d.ID {
			return errors.New("the source has changed since it was compared: verify again")
		}
		out := *e
		if o := d.suspect.want; e.TextUnchanged && o.textKnown {
			out.Text, out.TextUnchanged = texts[o.text], false
		}
		if err := send(out); err != nil {
			return err
		}
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough { //nolint:errorlint // it is returned as it is
		return err
	}
	return nil
}

// texts reads the texts of updates that left theirs out.
func (r *repair) texts(ctx context.Context, texts map[Place]string) error {
	left := len(texts)
	if left == 0 {
		return nil
	}
	_, err := r.parts.Source.Visit(ctx, func(e *chunk.Event, at Place) error {
		if _, ok := texts[at]; !ok {
			return nil
		}
		texts[at] = e.Text
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough { //nolint:errorlint // it is returned as it is
		return err
	}
	return nil
}

// end is the event that ends a chunk which should not live.
func end(d *Difference) chunk.Event {
	seen := d.suspect.seen
	return chunk.Event{
		Op: chunk.Delete, ID: d.ID, Source: d.Source, DocumentID: d.DocumentID, ChunkID: d.ChunkID,
		// A point of somebody else's may have no version.
		Version: max(1, seen.Version), Time: seen.EventTime, Origin: seen.Origin,
	}
}

// Read implements [pipeline.Sink]: nothing that the index holds of these points
// is to be trusted.
func (r *repair) Read(context.Context, []chunk.ID, bool) (map[chunk.ID]chunk.Stored, error) {
	return nil, nil
}

// Apply implements [pipeline.Sink].
func (r *repair) Apply(ctx context.Context, points []chunk.Point) error {
	return r.parts.Index.Replace(ctx, points, r.seen)
}

// mending is the source of the repair's pipeline.
type mending struct {
	*repair
	events <-chan chunk.Event
}

// mendBatch is how many events a batch of a repair has.
const mendBatch = 128

// Next implements [pipeline.Source].
func (m *mending) Next(ctx context.Context) (chunk.Batch, error) {
	var b chunk.Batch
	for len(b.Events) < mendBatch {
		select {
		case e, ok := <-m.events:
			if ok {
				b.Events = append(b.Events, e)
				continue
			}
			if len(b.Events) == 0 {
				return b, io.EOF
			}
		case <-ctx.Done():
			return b, ctx.Err()
		}
		break
	}
	b.Ack = func() {}
	b.Reject = func(rejections []chunk.Rejection) error {
		for _, x := range rejections {
			m.byID[b.Events[x.Event].ID].Refused = x.Err.Error()
		}
		return nil
	}
	return b, nil
}

// mistrustful is a cache that does not know the vectors which were found to be
// wrong: they may have come from it.
type mistrustful struct {
	pipeline.Cache
	fresh map[chunk.Hash]bool
}

// Get implements [pipeline.Cache].
func (c mistrustful) Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding {
	found := c.Cache.Get(ctx, hashes)
	for i, h := range hashes {
		if c.fresh[h] {
			found[i] = chunk.Embedding{}
		}
	}
	return found
}
