package console

import (
	"context"
	"sync"
	"time"
)

// Index is what is known of an index by asking for it.
type Index struct {
	// Alias is what readers search.
	Alias       string       `json:"alias"`
	Collections []Collection `json:"collections"`
	Migrations  []Migration  `json:"migrations"`
}

// Collection is one collection of an index.
type Collection struct {
	Name  string `json:"name"`
	Model string `json:"model"`
	Dim   int    `json:"dim"`
	// Serving: readers find what is in it. Own: this worker writes to it.
	Serving bool `json:"serving"`
	Own     bool `json:"own"`
	// Points counts everything, Tombstones are some of them.
	Points     int `json:"points"`
	Tombstones int `json:"tombstones"`
	// VectorBytes is computed.
	VectorBytes int64  `json:"vector_bytes"`
	Status      string `json:"status"`
}

// Migration is a change of the model that was begun and not dropped.
type Migration struct {
	From  string    `json:"from"`
	To    string    `json:"to"`
	Phase string    `json:"phase"`
	Begun time.Time `json:"begun"`
	// Source is where the texts come from: topic, collection or vectors.
	Source string `json:"source"`
	// Lag is how many records the new collection is behind, Members how many
	// workers it has.
	Lag     int64 `json:"lag"`
	Members int   `json:"members"`
	// Points are those of the new collection, OldPoints those of the old one,
	// which is negative once that was dropped.
	Points    int `json:"points"`
	OldPoints int `json:"old_points"`
}

// fact is what was asked for last.
type fact[T any] struct {
	Value T `json:"value"`
	// At is when the answer came that Value is; zero before the first.
	At time.Time `json:"at,omitzero"`
	// Error is why the last question had no answer; Value is an older one's.
	Error string `json:"error,omitempty"`
}

// asked keeps a fact fresh while somebody watches.
type asked[T any] struct {
	ask func(context.Context) (T, error)

	mu    sync.Mutex
	known fact[T]
	once  sync.Once
	first chan struct{} // closed once there was an answer, or none
}

func newAsked[T any](ask func(context.Context) (T, error)) *asked[T] {
	return &asked[T]{ask: ask, first: make(chan struct{})}
}

const (
	// askEvery is how old a fact is at most, while it can be had.
	askEvery = 10 * time.Second
	// askTimeout bounds one question.
	askTimeout = 5 * time.Second
)

// keep asks, and asks again, until ctx ends.
func (a *asked[T]) keep(ctx context.Context) {
	if a.ask == nil {
		a.once.Do(func() { close(a.first) })
		return
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		a.refresh(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *asked[T]) refresh(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	value, err := a.ask(limited)
	if ctx.Err() != nil {
		return // nobody watches any more
	}
	a.mu.Lock()
	if err == nil {
		a.known = fact[T]{Value: value, At: time.Now()}
	} else {
		a.known.Error = err.Error()
	}
	a.mu.Unlock()
	a.once.Do(func() { close(a.first) })
}

func (a *asked[T]) now() fact[T] {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}
