package main

import (
	"encoding/json"
	"time"

	"chunktide/verify"
)

// noteVerify is the key of the last verify in a collection's metadata.
const noteVerify = "verify"

// verifyNote is what is kept of a verify, beside the collection itself, so that
// it goes with it.
type verifyNote struct {
	At          time.Time           `json:"at"`
	Seconds     float64             `json:"seconds"`
	Points      int                 `json:"points"`
	Sampled     int                 `json:"sampled"`
	Total       int                 `json:"total"`
	Differences map[verify.Kind]int `json:"differences"`
}

func newVerifyNote(r verify.Report) map[string]any {
	differences := map[string]any{}
	for k, n := range r.Differences {
		differences[string(k)] = int64(n)
	}
	return map[string]any{noteVerify: map[string]any{
		"at": r.Begun.UTC().Format(time.RFC3339Nano), "seconds": r.Seconds, "points": int64(r.Points),
		"sampled": int64(r.Sampled), "total": int64(r.Total()), "differences": differences,
	}}
}

// readVerifyNote is nil if there is none, or none that this version knows.
func readVerifyNote(notes map[string]any) *verifyNote {
	raw, err := json.Marshal(notes[noteVerify])
	if err != nil || notes[noteVerify] == nil {
		return nil
	}
	var n verifyNote
	if json.Unmarshal(raw, &n) != nil {
		return nil
	}
	return &n
}
