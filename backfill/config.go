package backfill

import (
	"errors"
	"fmt"
)

// Config is how a backfill works: for throughput, where a worker works for
// freshness.
type Config struct {
	Batch Batch `mapstructure:"batch"`
	// MaxTokensPerSecond bounds what goes to the encoder, by its own count, for
	// each process; texts whose vector is known cost nothing. 0: no bound.
	MaxTokensPerSecond int `mapstructure:"max_tokens_per_second"`
	// PricePerMillionTokens is what the encoder costs, in any currency; it is
	// only multiplied. 0: costs are not shown.
	PricePerMillionTokens float64 `mapstructure:"price_per_million_tokens"`
}

// Batch closes a batch at whichever bound is reached first. Only a single row
// may exceed one. Up to five batches are held in memory at once.
type Batch struct {
	// Tokens bounds the texts, as estimated from their length.
	Tokens int `mapstructure:"tokens"`
	// Events bounds events; a row without any counts as one.
	Events int `mapstructure:"events"`
	// Bytes bounds the rows as they were read.
	Bytes int64 `mapstructure:"bytes"`
}

// DefaultConfig has batches four times as large as a worker's: there are more
// texts of like lengths to encode together, and nobody waits for the first.
func DefaultConfig() Config {
	return Config{Batch: Batch{Tokens: 65536, Events: 1024, Bytes: 16 << 20}}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	for key, n := range map[string]int64{"batch.tokens": int64(c.Batch.Tokens), "batch.events": int64(c.Batch.Events), "batch.bytes": c.Batch.Bytes} {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be positive", key))
		}
	}
	if c.MaxTokensPerSecond < 0 {
		errs = append(errs, errors.New("max_tokens_per_second: must not be negative; 0 is no bound"))
	}
	if !(c.PricePerMillionTokens >= 0) {
		errs = append(errs, errors.New("price_per_million_tokens: must not be negative; 0 shows no costs"))
	}
	return errors.Join(errs...)
}
