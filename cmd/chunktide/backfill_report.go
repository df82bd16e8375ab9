package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"chunktide/backfill"
)

// backfillResult is the end of a backfill.
type backfillResult struct {
	Collection string `json:"collection"`
	Model      string `json:"model_version"`
	// Group is set for the topic, the rows for other sources.
	Group string `json:"group,omitempty"`
	// Rows and RejectedRows count from the input's beginning, ResumedAt what
	// earlier runs did of them. For the topic RejectedRows are this process's
	// dead letters.
	Rows         int64 `json:"rows"`
	ResumedAt    int64 `json:"resumed_at_row"`
	RejectedRows int64 `json:"rejected_rows"`
	// RejectsFile is there if it has rows.
	RejectsFile string `json:"rejects_file,omitempty"`
	Finished    bool   `json:"finished"`
	// The reading is of this run.
	backfill.Reading
}

func (a *app) printBackfill(r backfillResult, costs bool) error {
	if a.json() {
		return a.printJSON(r)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	row := rows(table)
	row("collection", "%s", r.Collection)
	if r.Group != "" {
		row("group", "%s", r.Group)
	} else {
		row("rows", "%d, %d of them by earlier runs", r.Rows, r.ResumedAt)
	}
	row("events", "%d: %s stored, %d older than the index", r.Events, numberOf(r.Stored, "state"), r.Stale)
	row("encoded", "%s, %s, %.0f tokens/s", numberOf(r.Encoded, "text"), numberOf(r.Tokens, "token"), r.TokensPerSecond)
	if costs {
		row("cost", "%s", money(r.Cost))
	}
	row("rejected", "%d", r.RejectedRows)
	row("time", "%s", roughly(r.Seconds))
	return table.Flush()
}

// progressLine is what has been done and what that lets expect.
func progressLine(r backfill.Reading, costs bool) string {
	var b strings.Builder
	if r.Part != nil {
		fmt.Fprintf(&b, "%.1f%%  ", 100**r.Part)
	}
	fmt.Fprintf(&b, "%s (%.0f/s), %s encoded (%.0f/s)", numberOf(r.Events, "chunk"), r.EventsPerSecond, numberOf(r.Tokens, "token"), r.TokensPerSecond)
	if costs {
		fmt.Fprintf(&b, ", cost %s", money(r.Cost))
	}
	if r.Left != nil {
		fmt.Fprintf(&b, "; left: about %s, %s", numberOf(r.Left.Events, "chunk"), numberOf(r.Left.Tokens, "token"))
		if costs {
			fmt.Fprintf(&b, ", cost %s", money(r.Left.Cost))
		}
		fmt.Fprintf(&b, ", %s", roughly(r.Left.Seconds))
	}
	return b.String()
}

// money has two digits behind the point, or as many as a small sum needs.
func money(sum float64) string {
	if sum == 0 || sum >= 1 {
		return fmt.Sprintf("%.2f", sum)
	}
	return fmt.Sprintf("%.2g", sum)
}

func roughly(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}
