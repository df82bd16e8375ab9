// Package tune measures what an encoder can do on this machine, and chooses
// its settings.
//
// A call of B texts takes about t0 + c·B: t0 is what every call costs, c what
// every text adds. So B/t(B) climbs towards the ceiling 1/c and never reaches
// it; the knee is the smallest batch within 5 % of it, 19·t0/c. On a GPU t0
// rules, and batches are worth waiting for. On a CPU t0 is nearly nothing, and
// large runs lose, because they leave the caches.
//
// What it guarantees: each figure is the median of several repeats, taken in
// turns, so that a machine that is busy for a while slows all candidates alike;
// nothing is chosen that was not measured; no choice exceeds the latency that
// was asked for.
package tune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chunktide/embedder"
)

// Options say what to measure. The zero value of each list is chosen for the
// machine.
type Options struct {
	// Batches and Lengths are the texts of a call and the tokens of a text.
	Batches, Lengths []int
	// Threads and RunTokens are candidates for the settings of these names.
	Threads, RunTokens []int
	// Windows are the tokens of a call of texts of mixed lengths: candidates
	// for kafka.batch.tokens.
	Windows []int
	// Repeats is how often each is measured; 1 at least.
	Repeats int
	// Latency is the most that a call may take; 0: any time.
	Latency time.Duration
	// Progress is told what is measured next; it may be nil.
	Progress func(what string)
}

// Report is what was found. Times are in seconds.
type Report struct {
	ModelVersion string  `json:"model_version"`
	Latency      float64 `json:"latency_bound_seconds,omitempty"`
	Points       []Point `json:"points"`
	// Lengths has a fit over the texts of a call for each length; Tokens is
	// one over all tokens, whatever the lengths.
	Lengths []LengthFit `json:"lengths"`
	Tokens  Line        `json:"per_token"`
	// KneeTokens is the knee of the fit over tokens.
	KneeTokens int `json:"knee_tokens"`

	Threads   []Candidate `json:"threads,omitempty"`
	RunTokens []Candidate `json:"run_tokens,omitempty"`
	Windows   []Candidate `json:"windows"`
	Choice    Choice      `json:"choice"`
}

// Point is a call of texts that are all of one length.
type Point struct {
	Texts   int     `json:"texts"`
	Tokens  int     `json:"tokens_each"`
	Seconds float64 `json:"seconds"`
}

// LengthFit is the fit over texts of one length.
type LengthFit struct {
	Tokens int `json:"tokens_each"`
	Line
	// Knee is the smallest batch within 5 % of the ceiling, or the largest
	// that Latency allows if that is less; 0 if it does not allow one text.
	Knee int `json:"knee_texts"`
	// Bound says that Latency decided.
	Bound bool `json:"latency_decided"`
}

// Candidate is a value of a setting and what it gave on texts of mixed
// lengths.
type Candidate struct {
	Value           int     `json:"value"`
	Seconds         float64 `json:"seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// Choice is what to set: embedder.threads and embedder.run_tokens (0: nothing
// to choose), kafka.batch.tokens and kafka.batch.events.
type Choice struct {
	Threads     int `json:"threads,omitempty"`
	RunTokens   int `json:"run_tokens,omitempty"`
	BatchTokens int `json:"batch_tokens"`
	BatchEvents int `json:"batch_events"`
}

// Open makes an encoder; [Run] opens one at a time and closes it.
type Open func(embedder.Config) (embedder.Encoder, error)

// near is how much less than the best a cheaper choice may give.
const near = 0.05

// ErrLatency says that no batch meets the latency that was asked for.
var ErrLatency = errors.New("no batch meets the latency bound")

// Run measures and chooses. It takes a minute or so; ctx ends it early.
func Run(ctx context.Context, cfg embedder.Config, open Open, o Options) (Report, error) {
	t := &tuner{cfg: cfg, open: open, o: o, report: Report{Latency: o.Latency.Seconds()}}
	if t.o.Repeats < 1 {
		t.o.Repeats = 1
	}
	if err := t.size(); err != nil {
		return Report{}, err
	}
	for _, step := range []func(context.Context) error{t.chooseThreads, t.chooseRunTokens, t.measureGrid, t.measureWindows} {
		if err := step(ctx); err != nil {
			return Report{}, err
		}
	}
	return t.report, t.choose()
}

// choose settles the batch: the smallest window that is near the best of
// those that meet the bound, for a larger one only adds to the wait.
func (t *tuner) choose() error {
	var fits []Candidate
	for _, w := range t.report.Windows {
		if t.o.Latency == 0 || w.Seconds <= t.o.Latency.Seconds() {
			fits = append(fits, w)
		}
	}
	if len(fits) == 0 {
		return fmt.Errorf("%w: %v is less than the %.3gs that the smallest window, %d tokens, takes: allow more, or take a smaller model",
			ErrLatency, t.o.Latency, t.report.Windows[0].Seconds, t.report.Windows[0].Value)
	}
	t.report.Choice.BatchTokens = smallestNear(fits).Value
	t.report.Choice.BatchEvents = max(t.report.Choice.BatchTokens/meanTokens, 1)
	return nil
}

func smallestNear(candidates []Candidate) Candidate {
	best := 0.0
	for _, c := range candidates {
		best = max(best, c.TokensPerSecond)
	}
	for _, c := range candidates {
		if c.TokensPerSecond >= (1-near)*best {
			return c
		}
	}
	return candidates[0]
}
