// Package canary measures what a reader of the index sees: it publishes an edit
// of a marker chunk as a producer does, searches for it as a reader does, and
// tells how long it took. Then it deletes the marker, and waits until no search
// finds it.
//
// What the worker says of itself ends where the index has acknowledged a write.
// A round also covers what comes before and after: the topic, the alias, the
// index of vectors, and a worker that is not there to say anything.
package canary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Result is what became of a round.
type Result string

// The results, a closed set.
const (
	// OK: the marker was found in time, and in time it was gone again.
	OK Result = "ok"
	// Timeout: the marker was published, searches were answered, and none had it.
	Timeout Result = "timeout"
	// PublishFailed: the topic did not take the marker.
	PublishFailed Result = "publish_failed"
	// SearchFailed: the last search was not answered.
	SearchFailed Result = "search_failed"
	// NotDeleted: the marker was found in time, but then it stayed.
	NotDeleted Result = "not_deleted"
)

// Results lists them all.
func Results() []Result { return []Result{OK, Timeout, PublishFailed, SearchFailed, NotDeleted} }

// Marker is a state of the marker chunk.
type Marker struct {
	// Text is empty where the marker is deleted.
	Text    string
	Version int64
	Time    time.Time
}

// Look searches once: it returns the marker's text as readers find it, or
// false.
type Look func(ctx context.Context) (text string, found bool, err error)

// Options are the ways to the topic and to the index.
type Options struct {
	// Publish returns when the topic has the marker for good.
	Publish func(ctx context.Context, m Marker) error
	// Search readies a search for a text, by encoding it, so that this does not
	// count as time that the marker took.
	Search func(ctx context.Context, text string) (Look, error)
	// Timeout bounds each of a round's waits: to be found, and to be gone.
	Timeout time.Duration
	// Logger is for the rounds of Run.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Round tells of one.
type Round struct {
	Result  Result    `json:"result"`
	Started time.Time `json:"started"`
	// FoundSeconds is from before publishing to the answer that had the marker;
	// 0 if none had it. GoneSeconds is the same for its delete.
	FoundSeconds float64 `json:"found_seconds"`
	GoneSeconds  float64 `json:"gone_seconds"`
	// Error says what was met; empty if all is well.
	Error string `json:"error,omitempty"`
}

// Canary runs rounds, one at a time.
type Canary struct {
	o    Options
	last int64 // the version of the marker's last state
}

// New makes one; nothing is published yet.
func New(o Options) *Canary { return &Canary{o: o} }

// Run runs rounds until ctx ends: at once, and then regularly. A round that
// fails is logged and counted, and the next may go better. It leaves no marker
// behind.
func (c *Canary) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		switch r := c.Once(ctx); {
		case ctx.Err() != nil:
		case r.Result == OK:
			c.o.Logger.Debug("the marker was found and deleted", "found_seconds", r.FoundSeconds, "gone_seconds", r.GoneSeconds)
		default:
			c.o.Logger.Warn("the marker did not come through", "result", string(r.Result), "error", r.Error)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Once runs a round. One that ctx cuts short is not counted; its marker is
// deleted all the same.
func (c *Canary) Once(ctx context.Context) Round {
	r := Round{Started: time.Now()}
	var err error
	r.Result, err = c.round(ctx, &r)
	if err != nil {
		r.Error = err.Error()
	}
	if ctx.Err() == nil {
		c.o.Metrics.count(r)
	}
	return r
}

func (c *Canary) round(ctx context.Context, r *Round) (Result, error) {
	m := c.next("Chunktide's canary sings at " + r.Started.UTC().Format(time.RFC3339Nano) + ".")
	look, err := c.o.Search(ctx, m.Text)
	if err != nil {
		return SearchFailed, fmt.Errorf("prepare the search: %w", err)
	}
	start := time.Now()
	if err := c.publish(ctx, m); err != nil {
		return PublishFailed, err
	}
	at, result, err := c.await(ctx, start, look, func(text string, found bool) bool { return found && text == m.Text })
	if err != nil {
		// It may come yet, and then it is to go.
		return result, errors.Join(err, c.remove(ctx))
	}
	r.FoundSeconds = at.Seconds()
	c.o.Metrics.found(at)
	start = time.Now()
	if err := c.remove(ctx); err != nil {
		return NotDeleted, err
	}
	at, result, err = c.await(ctx, start, look, func(_ string, found bool) bool { return !found })
	switch {
	case err == nil:
		r.GoneSeconds = at.Seconds()
		return OK, nil
	case result == Timeout:
		return NotDeleted, errors.New("the marker was deleted, and is still found")
	default:
		return result, err
	}
}

// next is the marker's next state. The version is a time in microseconds, so
// that it also exceeds those of the canary before.
func (c *Canary) next(text string) Marker {
	now := time.Now()
	c.last = max(c.last+1, now.UnixMicro())
	return Marker{Text: text, Version: c.last, Time: now}
}

func (c *Canary) publish(ctx context.Context, m Marker) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if err := c.o.Publish(ctx, m); err != nil {
		return fmt.Errorf("publish the marker: %w", err)
	}
	return nil
}

// removeTimeout bounds the delete of a canary that was told to stop.
const removeTimeout = 5 * time.Second

// remove deletes the marker, also when ctx has ended.
func (c *Canary) remove(ctx context.Context) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
	}
	if err := c.publish(ctx, c.next("")); err != nil {
		return fmt.Errorf("delete it: %w", err)
	}
	return nil
}

const (
	// A search is repeated after a twentieth of what has passed, so that what is
	// measured is right to some five in a hundred.
	shortestPause = 10 * time.Millisecond
	longestPause  = time.Second
	// searchTimeout bounds one search.
	searchTimeout = 5 * time.Second
)

// await searches until a search says what is hoped for, and returns how long
// after start that was.
func (c *Canary) await(ctx context.Context, start time.Time, look Look, hoped func(text string, found bool) bool) (time.Duration, Result, error) {
	for {
		text, found, err := search(ctx, look)
		passed := time.Since(start)
		switch {
		case err == nil && hoped(text, found):
			return passed, OK, nil
		case ctx.Err() != nil:
			return 0, Timeout, ctx.Err()
		case passed < c.o.Timeout:
		case err != nil:
			return 0, SearchFailed, fmt.Errorf("search for the marker: %w", err)
		case found:
			return 0, Timeout, fmt.Errorf("an older state of the marker is still what searches find after %s: is it the only canary of its document?", c.o.Timeout)
		default:
			return 0, Timeout, fmt.Errorf("no search found the marker within %s: does a worker of this topic run, and is its backlog short?", c.o.Timeout)
		}
		pause := time.NewTimer(min(max(passed/20, shortestPause), longestPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

func search(ctx context.Context, look Look) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	return look(ctx)
}
