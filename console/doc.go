// Package console is a page on the admin port for the people who run a worker:
// what it does now, how fresh the index is, what waits, what was saved, what
// went to the dead letters, and what the index finds.
//
// What it guarantees:
//
//   - A number on the page is the one on /metrics: both are read from the same
//     registry. Rates and the histograms of the last minute are differences of
//     what was read; nothing is counted here.
//   - Whoever watches holds up nothing. The registry is read by one goroutine,
//     once a second, only while somebody watches; a slow reader misses snapshots
//     and is left behind in the end. What must be asked for (the index, the dead
//     letters) is asked for apart, under a time limit, and its failure is shown.
//   - The page shows no text of a chunk, but in answer to a search, which is off
//     unless it is set. It is part of the binary and asks no other host for
//     anything.
package console

import (
	"errors"
	"time"
)

// Config says what the console shows.
type Config struct {
	// Enabled serves the console on the admin port, at /.
	Enabled bool `mapstructure:"enabled"`
	// Search has a search box, which shows the text of chunks to whoever reaches
	// the admin port, and takes the encoder's time for each query.
	Search bool `mapstructure:"search"`
	// FreshnessObjective is how soon a change is to be searchable: the default
	// is what the alerts of deploy/prometheus go by. The console shows the share
	// that was.
	FreshnessObjective time.Duration `mapstructure:"freshness_objective"`
}

// DefaultConfig shows everything but texts.
func DefaultConfig() Config { return Config{Enabled: true, FreshnessObjective: time.Minute} }

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	if c.FreshnessObjective <= 0 {
		return errors.New("freshness_objective: must be above 0")
	}
	return nil
}
