package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Notes is where checkpoints lie: a few named values beside the points of the
// target collection, durable when Note returns.
type Notes interface {
	Notes(ctx context.Context) (map[string]any, error)
	Note(ctx context.Context, notes map[string]any) error
}

// Reached says how far an input is durable in the index.
type Reached struct {
	// Cursor is where to go on.
	Cursor Cursor `json:"cursor"`
	// Rows and Rejected count from the input's beginning.
	Rows     int64 `json:"rows"`
	Rejected int64 `json:"rejected"`
	// Done is the part of [Input.Total].
	Done int64 `json:"done"`
	// Finished says that there is nothing left.
	Finished bool      `json:"finished"`
	At       time.Time `json:"at"`
}

// Checkpoint keeps what was reached of one input in one collection. What is
// given to it is written in the background, the newest only, as fast as the
// index takes it: a process that is killed repeats what was acknowledged since
// the last write, which is mostly a batch.
type Checkpoint struct {
	notes Notes
	key   string

	// newest holds what is to be written, if anything.
	newest chan Reached
	done   chan struct{}
	stop   context.CancelFunc

	mu  sync.Mutex
	err error
}

// checkpointKey begins the names of the notes.
const checkpointKey = "backfill/"

// OpenCheckpoint looks up how far the input was read before. An identity that
// is empty keeps nothing: then the checkpoint is nil, and the input is read
// from its beginning. restart forgets what was reached. ctx bounds the look-up
// only; Close ends the rest.
func OpenCheckpoint(ctx context.Context, notes Notes, identity string, restart bool) (*Checkpoint, Reached, error) {
	if identity == "" {
		return nil, Reached{}, nil
	}
	name := sha256.Sum256([]byte(identity))
	c := &Checkpoint{
		notes: notes, key: checkpointKey + hex.EncodeToString(name[:8]),
		newest: make(chan Reached, 1), done: make(chan struct{}),
	}
	var reached Reached
	if !restart {
		held, err := notes.Notes(ctx)
		if err != nil {
			return nil, reached, fmt.Errorf("look up how far the input was read: %w", err)
		}
		text, ok := held[c.key].(string)
		if ok {
			if err := json.Unmarshal([]byte(text), &reached); err != nil {
				return nil, reached, fmt.Errorf("the checkpoint %s in the collection's metadata is not understood; start over with --restart: %w", c.key, err)
			}
		}
	}
	var writing context.Context
	writing, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	go c.write(writing)
	return c, reached, nil
}

func (c *Checkpoint) write(ctx context.Context) {
	defer close(c.done)
	for reached := range c.newest {
		if err := c.writeOne(ctx, reached); err != nil {
			c.mu.Lock()
			c.err = fmt.Errorf("write the checkpoint: %w", err)
			c.mu.Unlock()
			return
		}
	}
}

func (c *Checkpoint) writeOne(ctx context.Context, reached Reached) error {
	reached.At = time.Now().UTC()
	text, err := json.Marshal(reached)
	if err != nil {
		return err
	}
	return c.notes.Note(ctx, map[string]any{c.key: string(text)})
}

// advance replaces what is to be written. It does not wait. It is called by one
// goroutine.
func (c *Checkpoint) advance(reached Reached) {
	select {
	case <-c.newest:
	default:
	}
	c.newest <- reached // there is room: nobody else sends
}

// failed is why checkpoints can no longer be written, if so.
func (c *Checkpoint) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close writes the last, and returns when it is durable or ctx ends.
func (c *Checkpoint) close(ctx context.Context) error {
	close(c.newest)
	select {
	case <-c.done:
	case <-ctx.Done():
		c.stop()
		<-c.done
	}
	c.stop()
	return c.failed()
}
