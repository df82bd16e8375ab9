package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"chunktide/chunk"
	"chunktide/sink"
)

// Contents is a collection to be compared; *sink.Stored implements it.
type Contents interface {
	// Outline visits every point in the order of ids, without its content.
	Outline(ctx context.Context, visit func(sink.Record) error) error
	// Read is pipeline.Sink's.
	Read(ctx context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error)
}

var errEnough = errors.New("enough")

// Differ is what two collections do not have in common.
type Differ struct {
	// Living is how many chunks the first has.
	Living int
	// Count is how many chunks live in one of them only, or in different
	// states; Examples are some of them.
	Count    int
	Examples []chunk.ID
}

const (
	// mostSuspects are looked at again; of more than that nothing is hoped.
	mostSuspects = 10_000
	maxExamples  = 5
	// lookEvery is how often they are.
	lookEvery = 200 * time.Millisecond
)

// Level compares two collections, whatever their models: it counts the chunks
// that live in one only, or with another version or text. Both may be written
// to meanwhile: what differs is looked at again for as long as patience, since
// a change reaches one before the other. Memory is bounded.
func Level(ctx context.Context, a, b Contents, patience time.Duration) (Differ, error) {
	var d Differ
	var suspects []chunk.ID
	err := join(ctx, a, b, func(x, y *sink.Record) {
		if x != nil && !x.Tombstone {
			d.Living++
		}
		if sameRecord(x, y) {
			return
		}
		if d.Count++; len(suspects) <= mostSuspects {
			id := x
			if id == nil {
				id = y
			}
			suspects = append(suspects, id.ID)
		}
	})
	if err != nil || d.Count > mostSuspects {
		d.Examples = suspects[:min(maxExamples, len(suspects))]
		return d, err
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if suspects, err = stillDifferent(ctx, a, b, suspects); err != nil {
			return d, err
		}
		if len(suspects) == 0 || !time.Now().Before(deadline) {
			d.Count, d.Examples = len(suspects), suspects[:min(maxExamples, len(suspects))]
			return d, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return d, ctx.Err()
		}
	}
}

// sameRecord holds two states against each other; nil is a point that is not
// there, which is as good as a tombstone.
func sameRecord(a, b *sink.Record) bool {
	alive := func(r *sink.Record) bool { return r != nil && !r.Tombstone }
	if !alive(a) || !alive(b) {
		return alive(a) == alive(b)
	}
	return a.Version == b.Version && a.Hash == b.Hash
}

func stillDifferent(ctx context.Context, a, b Contents, ids []chunk.ID) ([]chunk.ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	x, err := a.Read(ctx, ids, false)
	if err != nil {
		return nil, err
	}
	y, err := b.Read(ctx, ids, false)
	if err != nil {
		return nil, err
	}
	record := func(m map[chunk.ID]chunk.Stored, id chunk.ID) *sink.Record {
		st, ok := m[id]
		if !ok {
			return nil
		}
		return &sink.Record{Version: st.Version, Tombstone: st.Tombstone, Hash: st.Hash}
	}
	var still []chunk.ID
	for _, id := range ids {
		if !sameRecord(record(x, id), record(y, id)) {
			still = append(still, id)
		}
	}
	return still, nil
}

// join visits the points of both in the order of ids, those of one id
// together.
func join(ctx context.Context, a, b Contents, visit func(x, y *sink.Record)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nextA, stopA := iter.Pull2(outline(ctx, a))
	defer stopA()
	nextB, stopB := iter.Pull2(outline(ctx, b))
	defer stopB()
	var x, y *sink.Record
	var errA, errB error
	advance := func(next func() (*sink.Record, error, bool)) (*sink.Record, error) {
		r, err, ok := next()
		if !ok {
			return nil, nil
		}
		return r, err
	}
	x, errA = advance(nextA)
	y, errB = advance(nextB)
	for {
		switch {
		case errA != nil:
			return fmt.Errorf("read the first collection: %w", errA)
		case errB != nil:
			return fmt.Errorf("read the second collection: %w", errB)
		case x == nil && y == nil:
			return ctx.Err()
		}
		var order int
		switch {
		case x == nil:
			order = 1
		case y == nil:
			order = -1
		default:
			order = bytes.Compare(x.ID[:], y.ID[:])
		}
		switch {
		case order < 0:
			visit(x, nil)
		case order > 0:
			visit(nil, y)
		default:
			visit(x, y)
		}
		if order <= 0 {
			x, errA = advance(nextA)
		}
		if order >= 0 {
			y, errB = advance(nextB)
		}
	}
}

// outline is a collection as a sequence.
func outline(ctx context.Context, c Contents) iter.Seq2[*sink.Record, error] {
	return func(yield func(*sink.Record, error) bool) {
		err := c.Outline(ctx, func(r sink.Record) error {
			if !yield(&r, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough { //nolint:errorlint // it comes back as it is
			yield(nil, err)
		}
	}
}
