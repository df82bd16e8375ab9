package main

import (
	"fmt"
	"io"
	"math/big"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/cost"
)

func (a *app) costCommand() *cobra.Command {
	var chunks, tokens, rebuilds, hitRate, training number
	var price priceFlags
	_ = rebuilds.Set("1")
	_ = hitRate.Set("0")
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Reckon what keeping an index costs; try it, and read it off a worker",
		Long: `Cost multiplies: a rebuild encodes every chunk once, so it costs chunks × tokens × price, and
1 − hit rate of that with a cache. The hit rate of a rebuild is the share of chunks whose text
stands elsewhere in the corpus too: a new model starts with an empty cache.

--price is for 1,000 tokens, and --price-per-million-tokens for a million. In their place
--gpu-tokens-per-second (chunktide tune measures it) and --gpu-price-per-hour price a machine
that you rent. Amounts are in the price's currency, and exact until they are printed.

--training-cost says when backward-compatible training pays, which makes a new model's vectors
comparable with the old ones and so saves the rebuild.

  sweep     run the real pipeline on streams with known shares of duplicates, and count
  observe   read a running worker: tokens encoded and saved, money, per day`,
		Example: `  chunktide cost --chunks 2e8 --tokens 220 --price 0.02 --rebuilds 6 --hit-rate 0.15
  chunktide cost --chunks 2e8 --tokens 220 --price-per-million-tokens 20 --rebuilds 6 --training-cost 2e6
  chunktide cost --chunks 2e8 --tokens 220 --gpu-tokens-per-second 250000 --gpu-price-per-hour 3.50 -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := price.price()
			if err != nil {
				return err
			}
			if p == nil {
				return usagef("cost: what is a token's price? Give --price (for 1,000 tokens), --price-per-million-tokens, or the --gpu flags")
			}
			plan := cost.Plan{
				Chunks: chunks.Rat, Tokens: tokens.Rat, Rebuilds: rebuilds.Rat, HitRate: hitRate.Rat, Price: *p, TrainingCost: training.Rat,
			}
			e, err := plan.Estimate()
			if err != nil {
				return usageError{fmt.Errorf("cost:\n%s", configs.Problems(err))}
			}
			if a.json() {
				return a.printJSON(e)
			}
			return printEstimate(a.io.out, plan, e)
		},
	}
	f := cmd.Flags()
	f.Var(&chunks, "chunks", "`chunks` of the corpus, such as 2e8")
	f.Var(&tokens, "tokens", "`tokens` of a chunk, on average")
	f.Var(&rebuilds, "rebuilds", "`times` that the whole corpus is encoded anew, as for a new model; the first filling is not one")
	f.Var(&hitRate, "hit-rate", "`share` of the chunks whose text is known already, 0 to 1")
	f.Var(&training, "training-cost", "what backward-compatible training costs more: also say when it pays")
	price.add(cmd)
	cmd.AddCommand(a.costSweepCommand(), a.costObserveCommand())
	for _, c := range cmd.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return cmd
}

func printEstimate(out io.Writer, p cost.Plan, e cost.Estimate) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\twithout cache\twith cache\n")
	fmt.Fprintf(table, "one-time\t%s\t%s\n", e.OneTime, e.OneTimeCached)
	fmt.Fprintf(table, "cumulative\t%s\t%s\n", e.Cumulative, e.CumulativeCached)
	if e.GPUHours != nil {
		fmt.Fprintf(table, "GPU hours of one\t%s\t%s\n", *e.GPUHours, *e.GPUHoursCached)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nRebuilds: %s. Price of a million tokens: %s\n", p.Rebuilds.RatString(), p.Price.PerMillionTokens())
	if e.BreakEven != nil && err == nil {
		err = printBreakEven(out, p, e)
	}
	return err
}

func printBreakEven(out io.Writer, p cost.Plan, e cost.Estimate) error {
	b := e.BreakEven
	if b.Rebuilds == nil {
		_, err := fmt.Fprintf(out, "\nBackward-compatible training at %s never pays: a rebuild costs nothing.\n", b.TrainingCost)
		return err
	}
	fmt.Fprintf(out, "\nBackward-compatible training at %s, for rebuilds at %s with the cache:\n", b.TrainingCost, e.OneTimeCached)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  has paid once it saved\t%s rebuilds\n", grouped(b.Rebuilds))
	fmt.Fprintf(table, "  saves, less its cost, if it saves %s\t%s\n", p.Rebuilds.RatString(), b.Net)
	fmt.Fprintf(table, "  pays if it saves %s, from\t%s chunks on\n", p.Rebuilds.RatString(), grouped(b.Chunks))
	fmt.Fprintf(table, "  pays if each new model costs it again, from\t%s chunks on\n", grouped(b.ChunksEach))
	return table.Flush()
}

// grouped is a whole number with its thousands in groups.
func grouped(n *big.Int) string {
	s := cost.NewAmount(new(big.Rat).SetInt(n)).String()
	return s[:len(s)-len(".00")]
}

// number is a flag with an exact decimal; without one its Rat is nil.
type number struct{ *big.Rat }

func (n *number) Set(s string) (err error) {
	n.Rat, err = cost.Parse(s)
	return err
}

func (n *number) String() string {
	if n.Rat == nil {
		return ""
	}
	return n.RatString()
}

func (n *number) Type() string { return "number" }

// priceFlags are the ways to give a token's price.
type priceFlags struct {
	thousand, million, gpuTokens, gpuHour number
}

func (p *priceFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&p.thousand, "price", "price of 1,000 tokens")
	f.Var(&p.million, "price-per-million-tokens", "price of 1,000,000 tokens, in place of --price")
	f.Var(&p.gpuTokens, "gpu-tokens-per-second", "`tokens` that a GPU encodes in a second, in place of a price")
	f.Var(&p.gpuHour, "gpu-price-per-hour", "price of an hour of that GPU")
}

// price is nil if none was given.
func (p *priceFlags) price() (*cost.Price, error) {
	given := 0
	for _, n := range []number{p.thousand, p.million, p.gpuTokens} {
		if n.Rat != nil {
			given++
		}
	}
	var out cost.Price
	switch {
	case (p.gpuTokens.Rat == nil) != (p.gpuHour.Rat == nil):
		return nil, usagef("--gpu-tokens-per-second and --gpu-price-per-hour go together")
	case given > 1:
		return nil, usagef("give one price: --price (for 1,000 tokens), --price-per-million-tokens, or the --gpu flags")
	case p.thousand.Rat != nil:
		out = cost.PerThousand(p.thousand.Rat)
	case p.million.Rat != nil:
		out = cost.PerMillion(p.million.Rat)
	case p.gpuTokens.Rat != nil:
		var err error
		if out, err = cost.PerGPU(p.gpuTokens.Rat, p.gpuHour.Rat); err != nil {
			return nil, usageError{fmt.Errorf("--gpu-tokens-per-second: %w", err)}
		}
	default:
		return nil, nil
	}
	return &out, nil
}

// or is the price that was given, else that of backfill.price_per_million_tokens,
// else nil.
func (p *priceFlags) or(perMillion float64) (*cost.Price, error) {
	given, err := p.price()
	if err != nil || given != nil || perMillion <= 0 {
		return given, err
	}
	// The shortest decimal that reads as this number is what stood in the settings.
	exact, err := cost.Parse(fmt.Sprint(perMillion))
	if err != nil {
		return nil, usageError{fmt.Errorf("backfill.price_per_million_tokens: %w", err)}
	}
	out := cost.PerMillion(exact)
	return &out, nil
}
