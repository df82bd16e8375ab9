package console

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/cost"
)

// Options are what the console shows. The functions are called from goroutines
// of the console, under a time limit.
type Options struct {
	Config
	Metrics prometheus.Gatherer
	// Alias is the index's name.
	Alias string
	// Health and Ready are those of the admin port; nil: always well.
	Health, Ready func() error
	// Price is what tokens cost; nil shows no money.
	Price *cost.Price
	// Index looks at the index.
	Index func(context.Context) (*Index, error)
	// DeadLetters are the last few, newest first.
	DeadLetters func(context.Context) ([]DeadLetter, error)
	// Search finds the chunks nearest to a text. It is called only if
	// Config.Search is set.
	Search func(ctx context.Context, text string, limit int) (Found, error)
	Logger *slog.Logger
}

// Console serves the page and what it reads. It is safe for concurrent use.
type Console struct {
	o       Options
	index   *asked[*Index]
	letters *asked[[]DeadLetter]
	// searching bounds the searches under way.
	searching chan struct{}
	ctx       context.Context

	mu       sync.Mutex
	watchers int
	sampling bool
	left     time.Time // when the last watcher went
	past     past
	latest   frame
	changed  chan struct{} // closed and replaced with each frame
}

// frame is a snapshot as it goes over the wire.
type frame struct {
	seq  uint64
	at   time.Time
	json []byte
}

// New makes a console, which works until ctx ends.
func New(ctx context.Context, o Options) *Console {
	return &Console{
		o: o, ctx: ctx, index: newAsked(o.Index), letters: newAsked(o.DeadLetters),
		searching: make(chan struct{}, maxSearches), changed: make(chan struct{}),
	}
}

const (
	sampleEvery = time.Second
	// lingers is how long sampling goes on when nobody watches any more, so that
	// a page that is loaded again still has its curves.
	lingers = 30 * time.Second
)

// watch has the metrics sampled until leave is called; ok is false if too many
// watch already.
func (c *Console) watch() (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers >= maxStreams {
		return nil, false
	}
	c.watchers++
	if !c.sampling {
		c.sampling = true
		go c.sample()
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		c.watchers--
		c.left = time.Now()
		c.mu.Unlock()
	}), true
}

// sample makes a frame every second, for as long as somebody watches.
func (c *Console) sample() {
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	go c.index.keep(ctx)
	go c.letters.keep(ctx)
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		c.publish()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if c.deserted() {
			return
		}
	}
}

func (c *Console) deserted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers > 0 || time.Since(c.left) < lingers {
		return false
	}
	c.sampling = false
	return true
}

// publish takes a sample and wakes the streams. It is called by one goroutine
// at a time.
func (c *Console) publish() {
	gathered, err := c.o.Metrics.Gather()
	now := newSample(time.Now(), gathered)
	s := snapshot{
		Index: c.o.Alias, Objective: c.o.FreshnessObjective.Seconds(), Search: c.searches(),
		Unwell: why(c.o.Health), Unready: why(c.o.Ready), IndexFacts: c.index.now(), DeadLetters: c.letters.now(),
	}
	if err != nil {
		s.MetricsError = err.Error()
	}
	c.mu.Lock()
	s.Window, s.RecentWindow = c.past.add(now)
	s.Sequence = c.latest.seq + 1
	c.mu.Unlock()
	s.fill(now, c.o.Price)
	encoded, err := json.Marshal(s)
	if err != nil {
		c.o.Logger.Error("the console has nothing to show", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = frame{s.Sequence, s.At, encoded}
	close(c.changed)
	c.changed = make(chan struct{})
}

func why(check func() error) string {
	if check != nil {
		if err := check(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// now is the newest frame, and what is closed when there is a newer one.
func (c *Console) now() (frame, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest, c.changed
}

// history is the points of the last minutes as JSON.
func (c *Console) history() ([]byte, error) {
	c.mu.Lock()
	points := append([]point{}, c.past.points...)
	c.mu.Unlock()
	return json.Marshal(points)
}
