package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Aliases tells what an alias of the index serves.
type Aliases interface {
	// Serving returns what alias points to at some moment of the call. It
	// returns [ErrNoAlias], wrapped or not, where there is no such alias.
	Serving(ctx context.Context, alias string) (Served, error)
}

// Served is the recipe of the collection behind an alias, as it is pinned
// there.
type Served struct {
	Collection   string
	ModelVersion string
	// Digest is the recipe's, in hexadecimal; it decides.
	Digest string
	Dim    int
}

// ErrNoAlias means that the index has no such alias.
var ErrNoAlias = errors.New("the index has no such alias")

// aliasCache remembers what the aliases serve, each for ttl from the moment
// when the question was put: so what it returns was true at some moment of the
// last ttl, or later. Questions about one alias are shared.
type aliasCache struct {
	source       Aliases
	ttl, timeout time.Duration
	metrics      *metrics

	mu     sync.Mutex
	latest map[string]*lookup
}

// lookup is a question and, once done is closed, its answer.
type lookup struct {
	asked  time.Time
	done   chan struct{}
	served Served
	err    error
}

func newAliasCache(source Aliases, ttl, timeout time.Duration, m *metrics) *aliasCache {
	return &aliasCache{source: source, ttl: ttl, timeout: timeout, metrics: m, latest: map[string]*lookup{}}
}

// serving returns what alias serves, for a caller that arrives now.
func (c *aliasCache) serving(ctx context.Context, alias string) (Served, error) {
	l := c.ask(ctx, alias, time.Now())
	select {
	case <-l.done:
		return l.served, l.err
	case <-ctx.Done():
		return Served{}, ctx.Err()
	}
}

// ask returns the newest question, if it is not too old, or puts a new one. A
// failure is not remembered: who comes after it asks again.
func (c *aliasCache) ask(ctx context.Context, alias string, now time.Time) *lookup {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.latest[alias]; l != nil && now.Sub(l.asked) < c.ttl {
		return l
	}
	l := &lookup{asked: now, done: make(chan struct{})}
	c.latest[alias] = l
	// Others may wait for the answer too, so that it does not end with ctx.
	go c.answer(context.WithoutCancel(ctx), alias, l)
	return l
}

func (c *aliasCache) answer(ctx context.Context, alias string, l *lookup) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	l.served, l.err = c.source.Serving(ctx, alias)
	result := "ok"
	if l.err != nil {
		result = "failed"
		l.err = fmt.Errorf("ask the index what alias %s serves: %w", alias, l.err)
		c.mu.Lock()
		if c.latest[alias] == l {
			delete(c.latest, alias)
		}
		c.mu.Unlock()
	}
	c.metrics.aliases.WithLabelValues(result).Inc()
	close(l.done)
}
