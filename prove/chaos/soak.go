package chaos

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The windows of a soak, as fractions of the stream: sizes in the last are
// compared with those in the first, which comes after the warm-up. What empties
// Redis happens well before either, so that it has filled again; nothing else
// is held back.
func warm() window { return window{.30, .45} }
func last() window { return window{.85, 1} }

// allowance is how much a size may have grown.
const allowance = .05

// soakPlan has every kind of fault, at a low rate. The chunks, texts and
// documents are few, so that index and cache reach their sizes early; one
// worker is killed over and over, the others live through it all.
func soakPlan(d time.Duration) Plan {
	const rate = 60
	minutes := d.Minutes()
	// Once in the warm-up, then again: what empties Redis well before the
	// windows, and what ends all of Kafka's connections before either, since a
	// client opens more of them afterwards than it had at first.
	parts := []window{{.03, .12}, {.46, .6}}
	times := func(perMinute float64) int { return max(1, int(minutes*perMinute)) }
	return Plan{
		Events: int(d.Seconds() * rate), Chunks: 400, Texts: 8, Partitions: 6, Workers: 3, Rate: rate, Spared: 2,
		DocumentDeletes: .02,
		Only:            map[Kind][]window{KillRedis: parts, FlushRedis: parts, KillBroker: parts, StopBroker: parts},
		Faults: map[Kind]int{
			KillWorker: times(.3), FreezeWorker: times(.1), KillRedis: 2, FlushRedis: 2, FlipBit: times(2),
			KillBroker: 2, StopBroker: 2, Backfill: 2, Cut: times(.5), Delay: times(.5), LoseAnswer: times(.5),
		},
	}
}

// sizes is one sample.
type sizes map[string]float64

// Growth is one size after the warm-up and at the end, each the median of its
// window.
type Growth struct {
	Of     string  `json:"of"`
	Warm   float64 `json:"after_warm_up"`
	Last   float64 `json:"at_the_end"`
	Growth float64 `json:"growth"`
	Bad    bool    `json:"bad,omitempty"`
}

// SoakReport is what a soak has found.
type SoakReport struct {
	Minutes float64  `json:"minutes"`
	Samples int      `json:"samples"`
	Sizes   []Growth `json:"sizes"`
	// Chaos is what every run is judged by.
	Chaos *Report `json:"chaos"`
}

// Wrong lists what a soak has against it.
func (s *SoakReport) Wrong() []string {
	wrong := s.Chaos.Wrong()
	for _, g := range s.Sizes {
		if g.Bad {
			wrong = append(wrong, fmt.Sprintf("%s: %.0f after the warm-up, %.0f at the end", g.Of, g.Warm, g.Last))
		}
	}
	return wrong
}

// Print writes the report for people.
func (s *SoakReport) Print(w io.Writer) {
	fmt.Fprintf(w, "soak of %.0f minutes, %d samples: medians of the stream's part %.0f–%.0f %% and %.0f–%.0f %%\n\n",
		s.Minutes, s.Samples, 100*warm().From, 100*warm().To, 100*last().From, 100*last().To)
	for _, g := range s.Sizes {
		mark := ""
		if g.Bad {
			mark = "  GREW"
		}
		row(w, g.Of, fmt.Sprintf("%12.0f → %12.0f  %+.1f %%%s", g.Warm, g.Last, 100*g.Growth, mark))
	}
	fmt.Fprintln(w)
	s.Chaos.Print(w)
}

// Soak runs for about so long with a mix of all faults at a low rate, and
// compares what the workers that were not killed, Redis and Qdrant take at the
// end with what they took after the warm-up.
func Soak(ctx context.Context, c Config, d time.Duration) (s *SoakReport, err error) {
	c.Plan = soakPlan(d)
	if c.Dir == "" {
		if c.Dir, err = os.MkdirTemp("", "chunktide-soak-"); err != nil {
			return nil, fmt.Errorf("make a folder for the soak: %w", err)
		}
		defer func() {
			if err == nil && len(s.Wrong()) == 0 {
				err = os.RemoveAll(c.Dir)
			}
		}()
	}
	var samples []sizes
	report, err := carryOut(ctx, c, func(ctx context.Context, r *run) {
		if s := r.measure(ctx); s != nil {
			samples = append(samples, s)
		}
	})
	if err != nil {
		return nil, err
	}
	s = &SoakReport{Minutes: d.Minutes(), Samples: len(samples), Chaos: report}
	if s.Sizes, err = compare(samples); err != nil {
		return nil, err
	}
	// How a size has come about is asked when it has grown.
	return s, writeLines(filepath.Join(c.Dir, "samples.jsonl"), len(samples), func(i int) any { return samples[i] })
}

// at is the name of the sample's place in the stream, a fraction.
const at = "at"

// measure takes a sample; nil when something did not answer, which is no
// sample.
func (r *run) measure(ctx context.Context) sizes {
	s := sizes{at: float64(r.stage.count()) / float64(len(r.history.Records))}
	for _, w := range r.world.live[:r.Plan.Spared] {
		got, ok := r.meter.read(ctx, w)
		if !ok {
			return nil
		}
		s[w.name+" resident bytes"], s[w.name+" goroutines"], s[w.name+" open files"] = got.RSS, got.Goroutines, got.Files
	}
	points, err := r.world.index.count(ctx)
	if err != nil {
		return nil
	}
	keys, err := r.world.cache.DBSize(ctx).Result()
	if err != nil {
		return nil
	}
	info, err := r.world.cache.Info(ctx, "memory").Result()
	if err != nil {
		return nil
	}
	s["qdrant points"], s["redis keys"], s["redis used bytes"] = float64(points), float64(keys), field(info, "used_memory")
	return s
}

func field(info, name string) float64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err == nil {
				return n
			}
		}
	}
	return math.NaN()
}

// compare holds the medians of the two windows against each other. Of a
// process only growth is bad; the sizes of index and cache must be the same
// either way. The allowance is rounded up to a whole one, for what is counted
// in ones.
func compare(samples []sizes) ([]Growth, error) {
	first, then := medians(samples, warm()), medians(samples, last())
	if first == nil || then == nil {
		return nil, fmt.Errorf("%d samples are too few to compare: let it run for longer", len(samples))
	}
	var out []Growth
	for name, w := range first {
		g := Growth{Of: name, Warm: w, Last: then[name], Growth: then[name]/w - 1}
		over := g.Last - g.Warm
		if !strings.HasPrefix(name, "worker") {
			over = math.Abs(over)
		}
		// Not "over > …": a size that is not a number is not well.
		g.Bad = !(over <= math.Ceil(allowance*w))
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Growth) int { return strings.Compare(a.Of, b.Of) })
	return out, nil
}

// least is how many samples make a median.
const least = 5

func medians(samples []sizes, w window) sizes {
	values := map[string][]float64{}
	for _, s := range samples {
		if s[at] < w.From || s[at] > w.To {
			continue
		}
		for name, v := range s {
			if name != at {
				values[name] = append(values[name], v)
			}
		}
	}
	out := sizes{}
	for name, v := range values {
		if len(v) < least {
			return nil
		}
		slices.Sort(v)
		out[name] = v[len(v)/2]
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
