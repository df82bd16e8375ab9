package chaos

import (
	"fmt"
	"io"
	"strings"
	"time"

	"chunktide/prove/history"
)

// Injected is how often a fault was planned and really happened.
type Injected struct {
	Fault    Kind `json:"fault"`
	Planned  int  `json:"planned"`
	Injected int  `json:"injected"`
	// Hits are the connections, pieces or answers that a fault of the network
	// has hit.
	Hits int64 `json:"hits,omitempty"`
}

// Report is what a run has found.
type Report struct {
	Seed   uint64    `json:"seed"`
	Fenced bool      `json:"fenced"`
	Qdrant string    `json:"qdrant"`
	Began  time.Time `json:"began"`

	Events       int `json:"events"`
	Records      int `json:"records"`
	Chunks       int `json:"chunks"`
	Workers      int `json:"workers"`
	BackfillRows int `json:"backfill_rows"`
	Points       int `json:"points"`

	Faults []Injected `json:"faults"`
	// MidWrite counts the workers that were killed or frozen while Qdrant owed
	// them an answer.
	MidWrite int `json:"caught_mid_write"`
	// Rewound is how many records had been committed and were no more after the
	// resets.
	Rewound int64 `json:"records_rewound"`

	history.Verdict
	// Regressed counts versions that were seen to fall, in so many Looks at the
	// whole index.
	Regressed int `json:"regressed"`
	Looks     int `json:"looks"`
	// LettersMissing and LettersWrong are dead letters that must be there and
	// are not, and the other way round.
	LettersMissing int `json:"dead_letters_missing"`
	LettersWrong   int `json:"dead_letters_wrong"`
	// Unclean are stops by SIGTERM, after the last fault, that did not end with
	// exit code 0; Disturbed are those among the faults.
	Unclean   []string `json:"unclean_stops,omitempty"`
	Disturbed []string `json:"unclean_stops_among_faults,omitempty"`
	// Failures are workers that ended by themselves, which is how a worker deals
	// with what it cannot wait out.
	Failures []string `json:"ended_by_themselves,omitempty"`

	// Of killed workers these count what was read last, so at least so much was
	// done.
	Processed        int     `json:"events_processed"`
	ReprocessedShare float64 `json:"reprocessed_share"`
	ModelCalls       int     `json:"model_calls"`
	DistinctTexts    int     `json:"distinct_texts"`
	ModelCallsBeyond int     `json:"model_calls_beyond_necessary"`
	CorruptNoticed   int     `json:"corrupt_cache_values_noticed"`

	LongestStallSeconds float64 `json:"longest_stall_seconds"`
	WallSeconds         float64 `json:"wall_seconds"`
}

// violations are what must not be, by name.
func (r *Report) violations() []named {
	return []named{
		{"lost", r.Lost}, {"stale", r.Stale}, {"doubled", r.Doubled}, {"resurrected", r.Resurrected}, {"regressed", r.Regressed},
		{"wrong vectors", r.WrongVector}, {"dead letters missing", r.LettersMissing}, {"dead letters wrong", r.LettersWrong},
		{"stops that were not clean", len(r.Unclean)},
	}
}

type named struct {
	name string
	n    int
}

// Good reports whether nothing was violated.
func (r *Report) Good() bool { return len(r.Wrong()) == 0 }

// Wrong lists what a run has against it, what was planned and not done
// included: a fault that did not happen proves nothing.
func (r *Report) Wrong() (wrong []string) {
	for _, v := range r.violations() {
		if v.n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", v.n, v.name))
		}
	}
	for _, f := range r.Faults {
		// Whether a fault of the network meets any traffic is not in our hands.
		least := f.Planned
		if f.Fault == Cut || f.Fault == Delay || f.Fault == LoseAnswer {
			least = (f.Planned + 1) / 2
		}
		if f.Injected < least {
			wrong = append(wrong, fmt.Sprintf("%d of %d times %s", f.Injected, f.Planned, f.Fault))
		}
	}
	if r.Looks == 0 {
		wrong = append(wrong, "nobody watched the index")
	}
	return wrong
}

// Caught reports whether a control has shown what the fence is for.
func (r *Report) Caught() bool { return r.Stale+r.Resurrected+r.Regressed > 0 }

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fence := "with the fence"
	if !r.Fenced {
		fence = "CONTROL, WITHOUT THE FENCE"
	}
	fmt.Fprintf(w, "chaos, seed %d, %s: %d events on %d chunks, %d workers, Qdrant %s, %s\n",
		r.Seed, fence, r.Events, r.Chunks, r.Workers, r.Qdrant, r.Began.Format(time.DateOnly))
	fmt.Fprintf(w, "\n  injected\n")
	for _, f := range r.Faults {
		line := fmt.Sprintf("%d of %d", f.Injected, f.Planned)
		if f.Hits > 0 {
			line += fmt.Sprintf(", %d hits", f.Hits)
		}
		row(w, string(f.Fault), line)
	}
	row(w, "killed or frozen in mid-write", r.MidWrite)
	row(w, "records read again by resets", r.Rewound)
	row(w, "backfill rows", r.BackfillRows)
	fmt.Fprintf(w, "\n  found\n")
	for _, v := range r.violations() {
		row(w, v.name, v.n)
	}
	row(w, "points in the end", r.Points)
	row(w, "looks at the whole index", r.Looks)
	for _, example := range r.Examples {
		row(w, "  for example", example)
	}
	fmt.Fprintf(w, "\n  what it cost\n")
	row(w, "events processed", fmt.Sprintf("%d (%.1f %% of them again)", r.Processed, 100*r.ReprocessedShare))
	row(w, "model calls", fmt.Sprintf("%d for %d distinct texts, so %d beyond the necessary", r.ModelCalls, r.DistinctTexts, r.ModelCallsBeyond))
	row(w, "corrupt cache values noticed", r.CorruptNoticed)
	row(w, "workers ended by themselves", len(r.Failures))
	row(w, "stops among faults not clean", len(r.Disturbed))
	row(w, "longest stall", fmt.Sprintf("%.1f s", r.LongestStallSeconds))
	row(w, "wall time", time.Duration(r.WallSeconds*float64(time.Second)).Round(time.Second))
	switch wrong := r.Wrong(); {
	case !r.Fenced && r.Caught():
		fmt.Fprintf(w, "\n  The control fails, as it must.\n\n")
	case !r.Fenced:
		fmt.Fprintf(w, "\n  THE CONTROL IS CLEAN: the run proves nothing.\n\n")
	case len(wrong) > 0:
		fmt.Fprintf(w, "\n  VIOLATED: %s\n\n", strings.Join(wrong, ", "))
	default:
		fmt.Fprintf(w, "\n  Never stale, never doubled, nothing lost.\n\n")
	}
}

func row(w io.Writer, name string, value any) { fmt.Fprintf(w, "    %-34s %v\n", name, value) }
