package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"

	"chunktide/prove/history"
)

// meter reads the workers' metrics all along, since a killed worker takes its
// own along. What each life did after the last reading is not counted.
type meter struct {
	client http.Client
	mu     sync.Mutex
	// last are the latest readings, by life.
	last map[string]reading
}

// reading is what counts of one worker's metrics.
type reading struct {
	Events, Calls, Corrupt float64
	RSS, Goroutines, Files float64
}

func newMeter() *meter {
	return &meter{client: http.Client{Timeout: 2 * time.Second}, last: map[string]reading{}}
}

// read takes the metrics of a worker, if it serves any just now.
func (m *meter) read(ctx context.Context, w *worker) (reading, bool) {
	life, address := w.current()
	if life == nil {
		return reading{}, false
	}
	families, err := m.scrape(ctx, "http://"+address+"/metrics")
	if err != nil {
		return reading{}, false // frozen, or gone in this moment
	}
	got := reading{
		Events: sum(families["chunktide_events_total"], "", ""), Calls: sum(families["chunktide_model_calls_total"], "", ""),
		Corrupt: sum(families["chunktide_cache_lookups_total"], "result", "corrupt"),
		RSS:     sum(families["process_resident_memory_bytes"], "", ""), Goroutines: sum(families["go_goroutines"], "", ""),
		Files: sum(families["process_open_fds"], "", ""),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[life.Log()] = got
	return got, true
}

func (m *meter) scrape(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := m.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read metrics: %s", answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(answer.Body)
}

// sum adds up a family's counters and gauges, of one label value or of all.
func sum(f *dto.MetricFamily, label, value string) (total float64) {
	for _, m := range f.GetMetric() {
		matches := label == ""
		for _, l := range m.GetLabel() {
			matches = matches || l.GetName() == label && l.GetValue() == value
		}
		if matches {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

// total is what all lives have done.
func (m *meter) total() (all reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.last {
		all.Events += r.Events
		all.Calls += r.Calls
		all.Corrupt += r.Corrupt
	}
	return all
}

// every does something again and again until ctx ends.
func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// lag is how many records a group has not committed, and committed how many it
// has.
func (w *world) lag(ctx context.Context, group string) (lag, committed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ends, err := w.admin.ListEndOffsets(ctx, group) // a group is called as its topic
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, 0, err
	}
	offsets, err := w.admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, 0, err
	}
	ends.Each(func(o kadm.ListedOffset) {
		at := int64(0)
		if c, ok := offsets.Lookup(o.Topic, o.Partition); ok && c.Err == nil {
			at = max(0, c.At)
		} else if ok {
			err = errors.Join(err, c.Err)
		}
		lag += o.Offset - at
		committed += at
	})
	return lag, committed, err
}

// stalls measures how long nothing is committed though there is something to
// commit.
type stalls struct {
	committed int64
	since     time.Time
	longest   time.Duration
}

func (s *stalls) see(now time.Time, lag, committed int64, err error) {
	if err == nil && (lag == 0 || committed > s.committed) || s.since.IsZero() {
		s.since = now
	}
	if err == nil {
		s.committed = committed
	}
	s.longest = max(s.longest, now.Sub(s.since))
}

// watching is what looks at the run from outside.
type watching struct {
	stalls stalls
	watch  history.Watch
	// looks are how often the whole index was read.
	looks int
	group sync.WaitGroup
	stop  context.CancelFunc
}

func (r *run) observe(ctx context.Context) *watching {
	ctx, stop := context.WithCancel(ctx)
	o := &watching{stop: stop}
	o.group.Go(func() {
		every(ctx, 250*time.Millisecond, func() {
			lag, committed, err := r.world.lag(ctx, r.world.topic)
			o.stalls.see(time.Now(), lag, committed, err)
		})
	})
	o.group.Go(func() {
		every(ctx, 300*time.Millisecond, func() {
			if r.world.index.versions(ctx, &o.watch) == nil {
				o.looks++
			}
		})
	})
	o.group.Go(func() {
		every(ctx, 500*time.Millisecond, func() {
			for _, w := range r.world.workers() {
				r.meter.read(ctx, w)
			}
		})
	})
	return o
}

// end stops looking; after it the findings may be read.
func (o *watching) end() {
	o.stop()
	o.group.Wait()
}
