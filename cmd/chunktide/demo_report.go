package main

import (
	"fmt"
	"slices"
	"time"
)

// demoResult is what the demo measured; its JSON form is `demo -o json`.
type demoResult struct {
	// Chunks were published, Unique of their texts are different.
	Chunks int `json:"chunks"`
	Unique int `json:"unique"`
	// ModelCalls counts the texts that went through the model, HitRate the
	// share of all upserts that did not have to.
	ModelCalls int     `json:"model_calls"`
	HitRate    float64 `json:"hit_rate"`
	// TokensPerSecond is from the first event published to the last one
	// durable, first load only.
	TokensPerSecond float64 `json:"tokens_per_second"`
	// Freshness is of the live edits and deletes, from the event's time to its
	// being durable in the index.
	FreshnessP50 float64 `json:"freshness_p50_seconds"`
	FreshnessP99 float64 `json:"freshness_p99_seconds"`
	// ReplayModelCalls is how many texts the replay of the whole topic sent
	// through the model.
	ReplayModelCalls int `json:"replay_model_calls"`
	// Points are searchable in the index, LiveChunks should be.
	Points     int `json:"points"`
	LiveChunks int `json:"live_chunks"`
	// Lost chunks are missing in the index, stale ones hold another state than
	// the last published (a deleted chunk that is still there among them),
	// doubled ones stand there more than once.
	Lost    int `json:"lost"`
	Stale   int `json:"stale"`
	Doubled int `json:"doubled"`
}

// level reports whether the index equals the corpus.
func (r demoResult) level() bool {
	return r.Lost == 0 && r.Stale == 0 && r.Doubled == 0 && r.Points == r.LiveChunks
}

func (a *app) printDemo(r demoResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	rows := [][2]string{
		{"chunks", fmt.Sprint(r.Chunks)},
		{"unique texts", fmt.Sprint(r.Unique)},
		{"model calls", fmt.Sprint(r.ModelCalls)},
		{"cache hit rate", fmt.Sprintf("%.1f%%", 100*r.HitRate)},
		{"tokens/s", fmt.Sprintf("%.0f", r.TokensPerSecond)},
		{"freshness p50 / p99", fmt.Sprintf("%.0f ms / %.0f ms", 1000*r.FreshnessP50, 1000*r.FreshnessP99)},
		{"model calls of the replay", fmt.Sprint(r.ReplayModelCalls)},
		{"points in the index = live chunks", fmt.Sprintf("%d = %d", r.Points, r.LiveChunks)},
		{"lost / stale / doubled", fmt.Sprintf("%d / %d / %d", r.Lost, r.Stale, r.Doubled)},
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(a.io.out, "  %-36s %s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}

// percentile is the smallest of the durations that a share p of them does not
// exceed (nearest rank); 0 without any.
func percentile(durations []time.Duration, p float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	rank := int(p*float64(len(sorted)) + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}
