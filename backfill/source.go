package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"chunktide/chunk"
)

// SourceParts are what a [Source] is made of.
type SourceParts struct {
	Input Input
	// Tokens estimates the tokens of a text.
	Tokens  func(text string) int
	Rejects *Rejects
	// Checkpoint may be nil; Reached is where it said to go on.
	Checkpoint *Checkpoint
	Reached    Reached
}

// Source hands out an input in batches, as a pipeline takes them. Next is
// called from one goroutine, and batches are settled in order; everything else
// may be called from any.
type Source struct {
	bounds Batch
	parts  SourceParts

	// reading ends with the context of Next.
	reading context.Context
	stop    context.CancelFunc

	// pulling is held while the input is read; it guards what follows.
	pulling sync.Mutex
	next    func() (Row, error, bool)
	end     func()
	// held is a row that did not fit into the last batch.
	held *rowHeld
	// ended says that the input was read to its end, err why it cannot be read
	// on.
	ended bool
	err   error

	mu sync.Mutex
	// read is what was handed out, reached what is durable.
	read, reached Reached
	// begun is what was durable at the start.
	begun Reached
}

// rowHeld is a row with what it counts towards the bounds.
type rowHeld struct {
	Row
	tokens int
	bytes  int64
}

// NewSource begins where the checkpoint says.
func NewSource(bounds Batch, parts SourceParts) *Source {
	s := &Source{bounds: bounds, parts: parts, read: parts.Reached, reached: parts.Reached, begun: parts.Reached}
	s.reading, s.stop = context.WithCancel(context.Background())
	if parts.Reached.Finished {
		s.ended = true
		s.next, s.end = func() (Row, error, bool) { return Row{}, nil, false }, func() {}
		return s
	}
	s.next, s.end = iter.Pull2(parts.Input.Rows(s.reading, parts.Reached.Cursor))
	return s
}

// Next implements pipeline.Source. When it returns, the malformed rows of the
// batch are durable among the rejects.
func (s *Source) Next(ctx context.Context) (chunk.Batch, error) {
	if err := ctx.Err(); err != nil {
		return chunk.Batch{}, err
	}
	defer context.AfterFunc(ctx, s.stop)()
	if s.parts.Checkpoint != nil {
		if err := s.parts.Checkpoint.failed(); err != nil {
			return chunk.Batch{}, err
		}
	}
	s.pulling.Lock()
	rows, err := s.gather()
	s.pulling.Unlock()
	if ctx.Err() != nil {
		return chunk.Batch{}, ctx.Err()
	}
	if err != nil {
		return chunk.Batch{}, err
	}
	if len(rows) == 0 {
		return chunk.Batch{}, io.EOF
	}
	return s.batch(rows)
}

// gather reads rows until a bound is reached or the input ends.
func (s *Source) gather() ([]rowHeld, error) {
	var rows []rowHeld
	events, tokens, bytes := 0, 0, int64(0)
	for {
		r, err := s.take()
		if r == nil || err != nil {
			return rows, err
		}
		events += max(1, len(r.Events))
		tokens += r.tokens
		bytes += r.bytes
		if len(rows) > 0 && (events > s.bounds.Events || tokens > s.bounds.Tokens || bytes > s.bounds.Bytes) {
			s.held = r
			return rows, nil
		}
		rows = append(rows, *r)
		if events >= s.bounds.Events || tokens >= s.bounds.Tokens || bytes >= s.bounds.Bytes {
			return rows, nil
		}
	}
}

// take returns the next row, nil at the end.
func (s *Source) take() (*rowHeld, error) {
	if r := s.held; r != nil {
		s.held = nil
		return r, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	row, err, ok := s.next()
	if !ok {
		s.ended = true
		return nil, nil
	}
	if err != nil {
		s.err = err
		return nil, err
	}
	r := &rowHeld{Row: row, bytes: int64(len(row.Raw))}
	r.Raw = append([]byte(nil), row.Raw...)
	for i := range row.Events {
		r.tokens += s.parts.Tokens(row.Events[i].Text)
	}
	return r, nil
}

func (s *Source) batch(rows []rowHeld) (chunk.Batch, error) {
	b := &batch{source: s, rows: rows, rejected: map[int]bool{}}
	var malformed []Reject
	var events []chunk.Event
	for i := range rows {
		r := &rows[i]
		if r.Err != nil {
			b.rejected[i] = true
			malformed = append(malformed, newReject(r.Place, r.Raw, "decode", r.Err))
			continue
		}
		for range r.Events {
			b.owner = append(b.owner, i)
		}
		events = append(events, r.Events...)
	}
	if len(malformed) > 0 {
		if err := s.parts.Rejects.add(malformed); err != nil {
			return chunk.Batch{}, err
		}
	}
	last := rows[len(rows)-1]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read.Cursor, s.read.Done = last.Next, last.Done
	s.read.Rows += int64(len(rows))
	b.reached = s.read
	return chunk.Batch{Events: events, Reject: b.reject, Ack: b.ack}, nil
}

// batch is a batch in flight.
type batch struct {
	source   *Source
	rows     []rowHeld
	owner    []int // the row that each event came from
	reached  Reached
	rejected map[int]bool // rows, malformed ones included
	acked    bool
}

// reject makes rows durable among the rejects: each once, though several of its
// events may be refused.
func (b *batch) reject(rejections []chunk.Rejection) error {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	var rejects []Reject
	for _, r := range rejections {
		if r.Event < 0 || r.Event >= len(b.owner) {
			return fmt.Errorf("reject event %d: the batch has %d", r.Event, len(b.owner))
		}
		if owner := b.owner[r.Event]; !b.rejected[owner] {
			b.rejected[owner] = true
			rejects = append(rejects, newReject(b.rows[owner].Place, b.rows[owner].Raw, r.Stage, r.Err))
		}
	}
	return b.source.parts.Rejects.add(rejects)
}

// ack moves what was reached to the end of the batch.
func (b *batch) ack() {
	s := b.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.acked {
		return
	}
	b.acked = true
	rejected := s.reached.Rejected + int64(len(b.rejected))
	s.reached = b.reached
	s.reached.Rejected = rejected
	if s.parts.Checkpoint != nil {
		s.parts.Checkpoint.advance(s.reached)
	}
}

// Progress is what is durable, what of it an earlier run did, and how much
// there is; total is 0 if that is not known.
func (s *Source) Progress() (now, before Reached, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached, s.begun, s.parts.Input.Total()
}

// Close ends the reading and makes the last checkpoint durable, or fails when
// ctx ends before. The pipeline must have ended. An input of which everything
// was acknowledged is marked as finished.
func (s *Source) Close(ctx context.Context) error {
	s.stop()
	s.pulling.Lock()
	s.end()
	read := s.ended && s.held == nil
	s.pulling.Unlock()
	s.mu.Lock()
	if read && s.reached.Rows == s.read.Rows && !s.reached.Finished {
		s.reached.Finished = true
		if s.parts.Checkpoint != nil {
			s.parts.Checkpoint.advance(s.reached)
		}
	}
	s.mu.Unlock()
	var err error
	if s.parts.Checkpoint != nil {
		err = s.parts.Checkpoint.close(ctx)
	}
	return errors.Join(err, s.parts.Rejects.Close())
}
