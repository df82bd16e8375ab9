// Package bench measures a worker against what bounds it: the model, the
// index, the device. Each figure is a ratio of two things that were measured
// in turns within one run (A B A B, medians), since machines differ and are
// shared. The worker is the one that `chunktide run` runs, on a real Kafka
// broker and a real Redis; the index is the embedded Qdrant in a process of
// its own.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"chunktide/embedder/tune"
)

// Options of a run.
type Options struct {
	// Quick makes every measurement about five times shorter, to see that it
	// works; its figures are noise.
	Quick bool
	// Log is told what is going on.
	Log io.Writer
}

func (o Options) sized(n int) int {
	if o.Quick {
		return max(1, n/5)
	}
	return n
}

func (o Options) say(format string, args ...any) { fmt.Fprintf(o.Log, format+"\n", args...) }

// Result is what one measurement found.
type Result struct {
	// Name is the measurement's letter and subject.
	Name string `json:"name"`
	// Bar is what is asked for, in words, and Met whether it was reached.
	Bar string `json:"bar"`
	Met bool   `json:"met"`
	// Head names the columns of Rows.
	Head []string   `json:"head"`
	Rows [][]string `json:"rows"`
	// Note says how it was measured.
	Note string `json:"note"`
	// Plot is nil where a table says it all.
	Plot *Plot `json:"plot,omitempty"`
}

// Measurement is one of the benches.
type Measurement struct {
	Letter, Subject string
	Run             func(context.Context, *Stage, Options) (Result, error)
}

// All are the measurements, in their order.
func All() []Measurement {
	return []Measurement{
		{"a", "the worker, end to end, against the bare model", endToEndCeiling},
		{"c", "a replay with every vector cached, against bare conditional upserts", replay},
		{"d", "freshness under load", freshness},
		{"e", "growth from 1,000 to 1,000,000 events", growth},
		{"f", "workers from 1 to 16, each with a device of its own", scale},
	}
}

// rounds of a comparison.
const rounds = 3

// compare has the worker and what bounds it do their work in turns, and fills
// the table. It returns the median of the rounds' ratios.
func (r *Result) compare(o Options, unit string, turn func() (worker, bare float64, err error)) (float64, error) {
	r.Head = []string{"round", "worker, " + unit, "bare, " + unit, "ratio"}
	var ratios []float64
	for round := range rounds {
		worker, bare, err := turn()
		if err != nil {
			return 0, err
		}
		ratio := worker / bare
		ratios = append(ratios, ratio)
		r.Rows = append(r.Rows, []string{fmt.Sprint(round + 1), fmt.Sprintf("%.0f", worker), fmt.Sprintf("%.0f", bare), fmt.Sprintf("%.3f", ratio)})
		o.say("  round %d: worker %.0f %s, bare %.0f: %.3f", round+1, worker, unit, bare, ratio)
	}
	m := tune.Median(ratios)
	r.Rows = append(r.Rows, []string{"median", "", "", fmt.Sprintf("%.3f", m)})
	return m, nil
}

// quantile of sorted values, by the nearest rank.
func quantile[T any](sorted []T, q float64) T {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Markdown is the result as a section of a page.
func (r Result) Markdown() string {
	var b strings.Builder
	verdict := "met"
	if !r.Met {
		verdict = "missed"
	}
	fmt.Fprintf(&b, "### %s\n\n%s: **%s**. %s\n\n", r.Name, r.Bar, verdict, r.Note)
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(r.Head)
	row(slices.Repeat([]string{"---:"}, len(r.Head)))
	for _, cells := range r.Rows {
		row(cells)
	}
	return b.String()
}
