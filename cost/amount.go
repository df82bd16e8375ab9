package cost

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Parse reads a decimal number, 0 or more, exactly: 220, 0.02, 2e8, 1_000.
func Parse(s string) (*big.Rat, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(s, "xXpP") {
		return nil, fmt.Errorf("%q is no decimal number, such as 220, 0.02 or 2e8", s)
	}
	// Tiny numbers are read as 0, which is why the digits are looked at. Beyond
	// these bounds the fraction would be of a size that nobody wants to wait for.
	digits, _, _ := strings.Cut(strings.ToLower(s), "e")
	switch zero := !strings.ContainsAny(digits, "123456789"); {
	case zero:
		return new(big.Rat), nil
	case f < 0:
		return nil, fmt.Errorf("%s is below 0", s)
	case f < 1e-30 || f > 1e30:
		return nil, fmt.Errorf("%s is not between 1e-30 and 1e30", s)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, fmt.Errorf("%q is no decimal number, such as 220, 0.02 or 2e8", s)
	}
	return r, nil
}

// Amount is an exact amount of money, or of hours. Its zero value is 0.
type Amount struct{ r *big.Rat }

// NewAmount is r as an amount; r is not to be changed afterwards.
func NewAmount(r *big.Rat) Amount { return Amount{r} }

// Rat is the amount as a fraction, which is not to be changed.
func (a Amount) Rat() *big.Rat {
	if a.r == nil {
		return new(big.Rat)
	}
	return a.r
}

// Float is the nearest float64, for drawings.
func (a Amount) Float() float64 {
	f, _ := a.Rat().Float64()
	return f
}

// Plus is the sum of both.
func (a Amount) Plus(b Amount) Amount { return Amount{new(big.Rat).Add(a.Rat(), b.Rat())} }

// String has two decimals, and thousands in groups: 880,000.00. An amount below
// 1 has as many decimals as its first two digits need.
func (a Amount) String() string {
	s := a.Rat().FloatString(a.decimals())
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	whole, decimals, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return sign + whole + "." + decimals
}

// MarshalJSON is a number with up to four decimals more than String has.
func (a Amount) MarshalJSON() ([]byte, error) {
	s := a.Rat().FloatString(a.decimals() + 4)
	return []byte(strings.TrimRight(strings.TrimRight(s, "0"), ".")), nil
}

// decimals is how many String shows.
func (a Amount) decimals() int {
	n, rest, ten := 2, new(big.Rat).Abs(a.Rat()), big.NewRat(10, 1)
	if rest.Sign() == 0 {
		return n
	}
	tenth := big.NewRat(1, 10)
	for ; rest.Cmp(tenth) < 0; n++ {
		rest.Mul(rest, ten)
	}
	return n
}

// ceil is the smallest whole number that is not below r.
func ceil(r *big.Rat) *big.Int {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func mul(factors ...*big.Rat) *big.Rat {
	p := big.NewRat(1, 1)
	for _, f := range factors {
		p.Mul(p, f)
	}
	return p
}

func quo(a, b *big.Rat) *big.Rat { return new(big.Rat).Quo(a, b) }
