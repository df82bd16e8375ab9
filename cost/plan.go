package cost

import (
	"errors"
	"fmt"
	"math/big"
)

// Plan is a corpus and what is to be done with it. All numbers but
// TrainingCost are needed.
type Plan struct {
	// Chunks is the size of the corpus; a whole number.
	Chunks *big.Rat
	// Tokens are those of a chunk, on average.
	Tokens *big.Rat
	// Rebuilds is how often the whole corpus is encoded anew, as for a new
	// model; a whole number. The first filling is none: no training saves it.
	Rebuilds *big.Rat
	// HitRate is the share of the corpus whose vectors are known when they are
	// needed, 0 to 1; see the package comment.
	HitRate *big.Rat
	Price   Price
	// TrainingCost is what it costs more to train the models so that their
	// vectors can be compared with those of the model before. Nil: not asked.
	TrainingCost *big.Rat
}

// Estimate is what a [Plan] costs.
type Estimate struct {
	// OneTime is for one rebuild, Cumulative for all, without a cache.
	OneTime    Amount `json:"one_time"`
	Cumulative Amount `json:"cumulative"`
	// OneTimeCached and CumulativeCached are the same with one.
	OneTimeCached    Amount `json:"one_time_cached"`
	CumulativeCached Amount `json:"cumulative_cached"`
	// GPUHours are those of one rebuild, where the price is a GPU's.
	GPUHours       *Amount `json:"gpu_hours,omitempty"`
	GPUHoursCached *Amount `json:"gpu_hours_cached,omitempty"`

	BreakEven *BreakEven `json:"break_even,omitempty"`
}

// BreakEven says when backward-compatible training pays. A model that is trained
// so makes vectors that can be compared with its predecessor's, so that the new
// model may answer searches while the old vectors stay: each model change saves
// a rebuild, at its price with the cache. (Shen, Xiong, Xia, Soatto: Towards
// Backward-Compatible Representation Learning, CVPR 2020, arXiv 2003.11942,
// which also measures what it gives away: searching old vectors finds less than
// a rebuild would.) Numbers are nil where nothing can pay because a rebuild
// costs nothing.
type BreakEven struct {
	TrainingCost Amount `json:"training_cost"`
	// Rebuilds is how many have to be saved until the training is paid.
	Rebuilds *big.Int `json:"rebuilds"`
	// Chunks is the size of the corpus from which on the training, paid once,
	// pays within the plan's rebuilds.
	Chunks *big.Int `json:"chunks"`
	// ChunksEach is that size if each new model has to be trained so, at this
	// cost each.
	ChunksEach *big.Int `json:"chunks_if_paid_each_time"`
	// Net is what all of the plan's rebuilds together would have cost, less the
	// training paid once; below 0 it does not pay.
	Net Amount `json:"net"`
}

// Estimate computes the costs. It reports every number that cannot be, at once.
func (p Plan) Estimate() (Estimate, error) {
	if err := p.validate(); err != nil {
		return Estimate{}, err
	}
	missing := new(big.Rat).Sub(big.NewRat(1, 1), p.HitRate)
	tokens := mul(p.Chunks, p.Tokens)
	cached := mul(tokens, missing)
	e := Estimate{
		OneTime: p.Price.of(tokens), Cumulative: p.Price.of(mul(tokens, p.Rebuilds)),
		OneTimeCached: p.Price.of(cached), CumulativeCached: p.Price.of(mul(cached, p.Rebuilds)),
		GPUHours: p.Price.hours(tokens), GPUHoursCached: p.Price.hours(cached),
	}
	if p.TrainingCost != nil {
		e.BreakEven = p.breakEven(e, p.Price.of(mul(p.Tokens, missing)).Rat())
	}
	return e, nil
}

// breakEven compares the training with rebuilds that cost so much a chunk.
func (p Plan) breakEven(e Estimate, chunk *big.Rat) *BreakEven {
	b := &BreakEven{
		TrainingCost: Amount{p.TrainingCost},
		Net:          Amount{new(big.Rat).Sub(e.CumulativeCached.Rat(), p.TrainingCost)},
	}
	if chunk.Sign() > 0 {
		b.Rebuilds = ceil(quo(p.TrainingCost, e.OneTimeCached.Rat()))
		b.Chunks = ceil(quo(p.TrainingCost, mul(chunk, p.Rebuilds)))
		b.ChunksEach = ceil(quo(p.TrainingCost, chunk))
	}
	return b
}

func (p Plan) validate() error {
	var errs []error
	for _, n := range []struct {
		name  string
		value *big.Rat
		whole bool
	}{{"chunks", p.Chunks, true}, {"tokens", p.Tokens, false}, {"rebuilds", p.Rebuilds, true}} {
		switch {
		case n.value == nil:
			errs = append(errs, fmt.Errorf("%s: missing", n.name))
		case n.value.Sign() <= 0:
			errs = append(errs, fmt.Errorf("%s: must be above 0", n.name))
		case n.whole && !n.value.IsInt():
			errs = append(errs, fmt.Errorf("%s: must be a whole number", n.name))
		}
	}
	if p.HitRate == nil || p.HitRate.Sign() < 0 || p.HitRate.Cmp(big.NewRat(1, 1)) > 0 {
		errs = append(errs, errors.New("hit rate: must be between 0 and 1; 15 % is 0.15"))
	}
	if p.Price.perToken == nil {
		errs = append(errs, errors.New("price: missing"))
	}
	if p.TrainingCost != nil && p.TrainingCost.Sign() < 0 {
		errs = append(errs, errors.New("training cost: must be 0 or more"))
	}
	return errors.Join(errs...)
}
