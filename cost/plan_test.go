package cost

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

func number(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseReadsDecimalsExactly(t *testing.T) {
	for s, want := range map[string]*big.Rat{
		"220": big.NewRat(220, 1), "0.02": big.NewRat(1, 50), "2e8": big.NewRat(200_000_000, 1), "0": new(big.Rat), "0e999999999": new(big.Rat),
		"1e-3": big.NewRat(1, 1000), "+5": big.NewRat(5, 1), "1_000": big.NewRat(1000, 1),
		// As a float64 this is 0.1000000000000000055….
		"0.1": big.NewRat(1, 10),
	} {
		if got := number(t, s); got.Cmp(want) != 0 {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "1/3", "0x10", "0x1p4", "NaN", "Inf", "1e31", "1e-31", "1e999999999", "1e-999999999", "1,000", "5%"} {
		if r, err := Parse(s); err == nil {
			t.Errorf("%q was read as %s", s, r)
		}
	}
}

func TestAmountIsRoundedOnceWhenItIsShown(t *testing.T) {
	for s, want := range map[string][2]string{
		"0":            {"0.00", "0"},
		"880000":       {"880,000.00", "880000"},
		"5280000.005":  {"5,280,000.01", "5280000.005"}, // half away from zero
		"1234567.8949": {"1,234,567.89", "1234567.8949"},
		"999.999":      {"1,000.00", "999.999"},
		"12.5":         {"12.50", "12.5"},
		"0.44":         {"0.44", "0.44"},
		"0.000123456":  {"0.00012", "0.000123456"},
		"0.1":          {"0.10", "0.1"},
	} {
		a := NewAmount(number(t, s))
		text, err := json.Marshal(a)
		if a.String() != want[0] || string(text) != want[1] || err != nil {
			t.Errorf("%s is shown as %s and %s (%v), want %s and %s", s, a, text, err, want[0], want[1])
		}
	}
	if third := NewAmount(big.NewRat(-10000, 3)); third.String() != "-3,333.33" {
		t.Errorf("a third of -10000 is %s", third)
	}
	if zero := (Amount{}); zero.String() != "0.00" || zero.Plus(zero).Rat().Sign() != 0 {
		t.Error("the zero amount is not 0")
	}
	// Ten times ten cents, which as float64 is 0.9999999999999999.
	sum := Amount{}
	for range 10 {
		sum = sum.Plus(NewAmount(number(t, "0.1")))
	}
	if sum.Rat().Cmp(big.NewRat(1, 1)) != 0 {
		t.Errorf("ten times 0.1 is %s", sum.Rat())
	}
}

func plan(t *testing.T, chunks, tokens, price, rebuilds, hitRate string) Plan {
	return Plan{
		Chunks: number(t, chunks), Tokens: number(t, tokens), Rebuilds: number(t, rebuilds), HitRate: number(t, hitRate),
		Price: PerThousand(number(t, price)),
	}
}

// Each line was reckoned by hand.
func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		chunks, tokens, price, rebuilds, hitRate string
		want                                     [4]string
	}{
		// 2e8·220 = 4.4e10 tokens = 4.4e7 thousands, at 0.02.
		{"2e8", "220", "0.02", "6", "0.15", [4]string{"880,000.00", "5,280,000.00", "748,000.00", "4,488,000.00"}},
		// Without hits a cache changes nothing, and with all hits everything.
		{"1000", "100", "0.5", "2", "0", [4]string{"50.00", "100.00", "50.00", "100.00"}},
		{"1000", "100", "0.5", "2", "1", [4]string{"50.00", "100.00", "0.00", "0.00"}},
		// 3·7.5 = 22.5 tokens = 0.0225 thousands, at 0.3: 0.00675; thrice 0.02025;
		// two thirds of the texts are not exactly 0.33, so 0.67: 0.0045225, 0.0135675.
		{"3", "7.5", "0.3", "3", "0.33", [4]string{"0.0068", "0.020", "0.0045", "0.014"}},
		// 1e9 chunks of 333 tokens at 0.0001: 3.33e8 thousands cost 33,300.
		{"1e9", "333", "0.0001", "12", "0.905", [4]string{"33,300.00", "399,600.00", "3,163.50", "37,962.00"}},
	} {
		e, err := plan(t, c.chunks, c.tokens, c.price, c.rebuilds, c.hitRate).Estimate()
		if err != nil {
			t.Fatal(err)
		}
		if got := [4]string{e.OneTime.String(), e.Cumulative.String(), e.OneTimeCached.String(), e.CumulativeCached.String()}; got != c.want {
			t.Errorf("%v costs %v", c, got)
		}
		if e.GPUHours != nil || e.BreakEven != nil {
			t.Errorf("%v tells of what was not asked: %+v", c, e)
		}
	}
}

// The three ways to give a price agree: 0.02 for 1,000 tokens is 20 for a
// million; a GPU of 10,000 tokens a second does 36 million an hour, so that it
// has this price at 720 an hour.
func TestPrices(t *testing.T) {
	gpu, err := PerGPU(number(t, "10000"), number(t, "720"))
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]Price{"thousand": PerThousand(number(t, "0.02")), "million": PerMillion(number(t, "20")), "gpu": gpu} {
		if got := p.Of(1_500_000).String(); got != "30.00" {
			t.Errorf("by %s 1.5 million tokens cost %s", name, got)
		}
		if got := p.PerMillionTokens().String(); got != "20.00" {
			t.Errorf("by %s a million tokens cost %s", name, got)
		}
	}
	p := plan(t, "2e8", "220", "1", "6", "0.15")
	p.Price = gpu
	e, err := p.Estimate()
	if err != nil {
		t.Fatal(err)
	}
	// 4.4e10 / 3.6e7 = 1222.2… hours; 85 % of them are 1038.8….
	if e.OneTime.String() != "880,000.00" || e.GPUHours.String() != "1,222.22" || e.GPUHoursCached.String() != "1,038.89" {
		t.Errorf("on a GPU: %s in %s hours, with the cache %s", e.OneTime, e.GPUHours, e.GPUHoursCached)
	}
	if _, err := PerGPU(new(big.Rat), number(t, "2")); err == nil {
		t.Error("a GPU that encodes nothing has a price")
	}
}

// A rebuild of the textbook's corpus costs 748,000 with the cache, a chunk of it
// 0.00374 (220 tokens, 85 % of them, at 0.00002 each).
func TestBreakEven(t *testing.T) {
	for _, c := range []struct {
		training                     string
		rebuilds, chunks, chunksEach int64
		net                          string
	}{
		// 2,000,000 / 748,000 = 2.67; / (0.00374·6) = 89,126,559.7; / 0.00374 = 534,759,358.3.
		{"2e6", 3, 89_126_560, 534_759_359, "2,488,000.00"},
		// To the cent: one rebuild pays it, and the corpus is the break-even.
		{"748000", 1, 33_333_334, 200_000_000, "3,740,000.00"},
		{"748000.01", 2, 33_333_334, 200_000_003, "3,739,999.99"},
		{"5e6", 7, 222_816_400, 1_336_898_396, "-512,000.00"},
		{"0", 0, 0, 0, "4,488,000.00"},
	} {
		p := plan(t, "2e8", "220", "0.02", "6", "0.15")
		p.TrainingCost = number(t, c.training)
		e, err := p.Estimate()
		if err != nil {
			t.Fatal(err)
		}
		b := e.BreakEven
		if b.Rebuilds.Int64() != c.rebuilds || b.Chunks.Int64() != c.chunks || b.ChunksEach.Int64() != c.chunksEach || b.Net.String() != c.net {
			t.Errorf("a training of %s: %s rebuilds, %s chunks, %s each time, net %s; want %v", c.training, b.Rebuilds, b.Chunks, b.ChunksEach, b.Net, c)
		}
	}
	p := plan(t, "100", "10", "0.02", "6", "1")
	p.TrainingCost = number(t, "5")
	e, err := p.Estimate()
	if err != nil || e.BreakEven.Rebuilds != nil || e.BreakEven.Chunks != nil || e.BreakEven.Net.String() != "-5.00" {
		t.Errorf("where a rebuild costs nothing: %+v, %v", e.BreakEven, err)
	}
}

func TestEveryProblemOfAPlanIsReported(t *testing.T) {
	_, err := Plan{Tokens: new(big.Rat), Rebuilds: big.NewRat(1, 2), HitRate: big.NewRat(15, 1), TrainingCost: big.NewRat(-1, 1)}.Estimate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"chunks", "tokens", "rebuilds", "hit rate", "price", "training cost"} {
		if !strings.Contains(err.Error(), name+":") {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
}
