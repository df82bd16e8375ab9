package cost

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// SweepConfig says what to run.
type SweepConfig struct {
	// Chunks are those of each stream, Words those of each text.
	Chunks, Words int
	// Rates are the shares of duplicates to run, 0 or more and below 1.
	Rates []*big.Rat
	Seed  uint64
	Price Price
}

// Run sends a stream's texts, each the text of a chunk of its own, through a
// pipeline that knows none of them, and returns when all are durable.
type Run func(ctx context.Context, s Stream) (Measured, error)

// Measured is what a [Run] saw.
type Measured struct {
	// Calls are the texts that were given to the model, as often as they were,
	// and TokensEncoded their tokens.
	Calls         int
	TokensEncoded int64
	// Stored are the chunks in the index, and Tokens those of their texts.
	Stored int
	Tokens int64
}

// Row is what one stream took.
type Row struct {
	// HitRate is the stream's share of duplicates, Duplicates/Chunks. It is the
	// rate that was asked for, unless Rounded: then that is no whole number of
	// chunks, and this is the nearest one that is.
	HitRate    float64 `json:"hit_rate"`
	Rounded    bool    `json:"rounded,omitempty"`
	Chunks     int     `json:"chunks"`
	Duplicates int     `json:"duplicates"`
	// Calls are the texts that reached the model, Predicted is (1−h)·Chunks.
	Calls     int `json:"calls"`
	Predicted int `json:"predicted"`
	// Stored are the chunks that the index holds.
	Stored int `json:"stored"`
	// Saved is the price of the tokens that did not have to be encoded.
	TokensEncoded int64  `json:"tokens_encoded"`
	TokensSaved   int64  `json:"tokens_saved"`
	Saved         Amount `json:"saved_dollars"`
}

// Rows are those of a sweep.
type Rows []Row

// Sweep runs one stream for each rate. Each may be nil; it is called after each
// row. An error of run ends it; a wrong number does not, see [Rows.Check].
func Sweep(ctx context.Context, cfg SweepConfig, run Run, each func(Row)) (Rows, error) {
	rows := make(Rows, 0, len(cfg.Rates))
	for _, rate := range cfg.Rates {
		duplicates, rounded := duplicatesOf(cfg.Chunks, rate)
		stream, err := NewStream(cfg.Chunks, duplicates, cfg.Words, cfg.Seed)
		if err != nil {
			return nil, fmt.Errorf("hit rate %s: %w", rate.RatString(), err)
		}
		m, err := run(ctx, stream)
		if err != nil {
			return nil, fmt.Errorf("hit rate %s: %w", rate.RatString(), err)
		}
		row := Row{
			HitRate: float64(duplicates) / float64(cfg.Chunks), Rounded: rounded, Chunks: cfg.Chunks, Duplicates: duplicates,
			Calls: m.Calls, Predicted: stream.Distinct, Stored: m.Stored,
			TokensEncoded: m.TokensEncoded, TokensSaved: m.Tokens - m.TokensEncoded,
		}
		row.Saved = cfg.Price.Of(row.TokensSaved)
		rows = append(rows, row)
		if each != nil {
			each(row)
		}
	}
	return rows, nil
}

// duplicatesOf is the whole number of chunks that is nearest to rate, the
// higher of two.
func duplicatesOf(chunks int, rate *big.Rat) (n int, rounded bool) {
	exact := mul(rate, big.NewRat(int64(chunks), 1))
	up := new(big.Rat).Add(exact, big.NewRat(1, 2))
	whole := new(big.Int).Quo(up.Num(), up.Denom())
	return int(whole.Int64()), !exact.IsInt()
}

// Check tells where a pipeline did not do what it must: encode each text once,
// and keep each chunk.
func (rows Rows) Check() error {
	var errs []error
	for _, r := range rows {
		if r.Calls != r.Predicted {
			why := "a vector that was known was computed again: is the cache too small for these texts, or away?"
			if r.Calls < r.Predicted {
				why = "texts were left out"
			}
			errs = append(errs, fmt.Errorf("hit rate %.4g: %d model calls where (1−h)·C is %d: %s", r.HitRate, r.Calls, r.Predicted, why))
		}
		if r.Stored != r.Chunks {
			errs = append(errs, fmt.Errorf("hit rate %.4g: the index holds %d of %d chunks", r.HitRate, r.Stored, r.Chunks))
		}
	}
	return errors.Join(errs...)
}

// maxRates bounds a sweep: each rate is a whole stream.
const maxRates = 200

// ParseRates reads hit rates: from:to:step with both ends, or a list with
// commas. 0:0.9:0.1 is 0,0.1,0.2,…,0.9, exactly.
func ParseRates(s string) ([]*big.Rat, error) {
	var rates []*big.Rat
	if parts := strings.Split(s, ":"); len(parts) == 3 {
		from, to, step, err := three(parts)
		if err != nil {
			return nil, err
		}
		if step.Sign() == 0 || from.Cmp(to) > 0 {
			return nil, fmt.Errorf("%q: want from:to:step, upwards, such as 0:0.9:0.1", s)
		}
		for r := from; r.Cmp(to) <= 0 && len(rates) <= maxRates; r = new(big.Rat).Add(r, step) {
			rates = append(rates, r)
		}
	} else {
		for _, part := range strings.Split(s, ",") {
			r, err := Parse(strings.TrimSpace(part))
			if err != nil {
				return nil, err
			}
			rates = append(rates, r)
		}
	}
	if len(rates) > maxRates {
		return nil, fmt.Errorf("%q: are more than %d rates", s, maxRates)
	}
	for _, r := range rates {
		if r.Cmp(big.NewRat(1, 1)) >= 0 {
			return nil, fmt.Errorf("%q: a hit rate must be below 1, since some text has to be the first of its kind", s)
		}
	}
	return rates, nil
}

func three(parts []string) (a, b, c *big.Rat, err error) {
	var numbers [3]*big.Rat
	var errs [3]error
	for i, part := range parts {
		numbers[i], errs[i] = Parse(part)
	}
	return numbers[0], numbers[1], numbers[2], errors.Join(errs[:]...)
}
