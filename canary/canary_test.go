package canary

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// world is a worker that makes a marker searchable after a while, and a topic
// and an index that can be away.
type world struct {
	delay, deleteDelay    time.Duration
	publishErr, searchErr error
	prepareErr            error

	mu        sync.Mutex
	published []Marker
	shown     string
	version   int64
}

func (w *world) options(reg *prometheus.Registry) Options {
	return Options{
		Publish: w.publish, Search: w.search, Timeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(reg),
	}
}

func (w *world) publish(ctx context.Context, m Marker) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.publishErr, ctx.Err()); err != nil {
		return err
	}
	w.published = append(w.published, m)
	delay := w.delay
	if m.Text == "" {
		delay = w.deleteDelay
	}
	time.AfterFunc(delay, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if m.Version > w.version { // the fence
			w.shown, w.version = m.Text, m.Version
		}
	})
	return nil
}

func (w *world) search(_ context.Context, _ string) (Look, error) {
	return func(ctx context.Context) (string, bool, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.shown, w.shown != "", errors.Join(w.searchErr, ctx.Err())
	}, w.prepareErr
}

func TestRounds(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		world  *world
		want   Result
		says   string
		leaves int // states that were published
	}{
		"well":           {&world{delay: 2 * time.Second, deleteDelay: time.Second}, OK, "", 2},
		"at once":        {&world{}, OK, "", 2},
		"worker stopped": {&world{delay: time.Hour, deleteDelay: time.Hour}, Timeout, "does a worker", 2},
		"topic away":     {&world{publishErr: gone}, PublishFailed, "gone", 0},
		"index away":     {&world{searchErr: gone}, SearchFailed, "gone", 2},
		"encoder away":   {&world{prepareErr: gone}, SearchFailed, "gone", 0},
		"delete lost":    {&world{deleteDelay: time.Hour}, NotDeleted, "still found", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, reg := c.world, prometheus.NewRegistry()
				r := New(w.options(reg)).Once(t.Context())
				if r.Result != c.want || !strings.Contains(r.Error, c.says) || (c.says == "") != (r.Error == "") {
					t.Errorf("%+v, want %s and %q", r, c.want, c.says)
				}
				if len(w.published) != c.leaves || len(w.published) > 0 && (w.published[1].Text != "" || w.published[1].Version <= w.published[0].Version) {
					t.Errorf("published %+v, want %d states, the last a newer delete", w.published, c.leaves)
				}
				if c.want == OK || c.want == NotDeleted {
					found := w.delay.Seconds()
					if r.FoundSeconds < found || r.FoundSeconds > found*1.06+.01 {
						t.Errorf("found after %v s, want %v", r.FoundSeconds, found)
					}
				}
				if c.want == OK && (r.GoneSeconds < w.deleteDelay.Seconds() || r.GoneSeconds > w.deleteDelay.Seconds()*1.06+.01) {
					t.Errorf("gone after %v s, want %v", r.GoneSeconds, w.deleteDelay)
				}
				for _, result := range Results() {
					want := 0.0
					if result == c.want {
						want = 1
					}
					if got := rounds(t, reg)[result]; got != want {
						t.Errorf("%s was counted %v times, want %v", result, got, want)
					}
				}
			})
		})
	}
}

func rounds(t *testing.T, reg *prometheus.Registry) map[Result]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[Result]float64{}
	for _, f := range families {
		if f.GetName() == "chunktide_canary_rounds_total" {
			for _, m := range f.GetMetric() {
				counts[Result(m.GetLabel()[0].GetValue())] = m.GetCounter().GetValue()
			}
		}
	}
	return counts
}

// Every series is there before the first round.
func TestMetricsBeginAtZero(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	if n := len(rounds(t, reg)); n != len(Results()) {
		t.Errorf("%d results, want %d", n, len(Results()))
	}
	if testutil.ToFloat64(m.success) != 0 {
		t.Error("a success before any round")
	}
}

// A search that fails and then goes on again costs nothing but time.
func TestSearchThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{delay: time.Second, searchErr: errors.New("gone")}
		time.AfterFunc(3*time.Second, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.searchErr = nil
		})
		if r := New(w.options(prometheus.NewRegistry())).Once(t.Context()); r.Result != OK || r.FoundSeconds < 3 {
			t.Errorf("%+v, want ok after 3 s", r)
		}
	})
}

// Rounds go on after one that failed, and the end of the canary leaves no
// marker: the last state that was published is a delete.
func TestRunGoesOnAndCleansUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{delay: time.Second, publishErr: errors.New("gone")}
		reg := prometheus.NewRegistry()
		c := New(w.options(reg))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx, time.Minute) }()
		time.Sleep(30 * time.Second)
		w.mu.Lock()
		w.publishErr = nil
		w.mu.Unlock()
		time.Sleep(90*time.Second + 500*time.Millisecond) // half a second into the third round
		stop()
		<-done
		if got := rounds(t, reg); got[PublishFailed] != 1 || got[OK] != 1 || got[Timeout] != 0 {
			t.Errorf("rounds %v, want one that failed, one that was well, and none for the one that was cut short", got)
		}
		if last := w.published[len(w.published)-1]; len(w.published) != 4 || last.Text != "" {
			t.Errorf("%d states, the last %+v: want 4, and a delete", len(w.published), last)
		}
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.shown != "" {
			t.Errorf("%q is still shown", w.shown)
		}
	})
}
