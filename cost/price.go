package cost

import (
	"errors"
	"math/big"
)

// Price is what tokens cost.
type Price struct {
	perToken *big.Rat
	// tokensPerHour is set for a GPU.
	tokensPerHour *big.Rat
}

// PerThousand is a price for 1,000 tokens.
func PerThousand(price *big.Rat) Price { return Price{perToken: quo(price, big.NewRat(1000, 1))} }

// PerMillion is a price for 1,000,000 tokens.
func PerMillion(price *big.Rat) Price { return Price{perToken: quo(price, big.NewRat(1_000_000, 1))} }

// PerGPU is the price of a token on a machine that costs perHour and encodes so
// many tokens a second, padding excluded: perHour / (3600·tokensPerSecond). It
// is what the machine costs while it works; an idle one costs the same and
// encodes nothing.
func PerGPU(tokensPerSecond, perHour *big.Rat) (Price, error) {
	if tokensPerSecond.Sign() <= 0 {
		return Price{}, errors.New("the tokens a second of a GPU must be above 0; chunktide tune measures them")
	}
	hourly := mul(tokensPerSecond, big.NewRat(3600, 1))
	return Price{perToken: quo(perHour, hourly), tokensPerHour: hourly}, nil
}

// PerMillionTokens is the price of 1,000,000 tokens.
func (p Price) PerMillionTokens() Amount { return p.of(big.NewRat(1_000_000, 1)) }

// Of is the price of so many tokens.
func (p Price) Of(tokens int64) Amount { return p.of(new(big.Rat).SetInt64(tokens)) }

func (p Price) of(tokens *big.Rat) Amount {
	if p.perToken == nil {
		return Amount{}
	}
	return Amount{mul(tokens, p.perToken)}
}

// hours is how long a GPU works on so many tokens; nil where none was priced.
func (p Price) hours(tokens *big.Rat) *Amount {
	if p.tokensPerHour == nil {
		return nil
	}
	return &Amount{quo(tokens, p.tokensPerHour)}
}
