package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/embedder/tune"
)

func (a *app) tuneCommand() *cobra.Command {
	var o tune.Options
	var svg, write string
	cmd := &cobra.Command{
		Use:   "tune",
		Short: "Measure the encoder on this machine and choose its settings",
		Long: `Tune measures how long the configured model takes for batches of several sizes and text
lengths, fits t0 + c·B, and prints t0, c, the ceiling 1/c, and the knee: the smallest batch
within 5 % of the ceiling. It tries embedder.threads, embedder.run_tokens and
kafka.batch.tokens on texts of mixed lengths and says what to set; --write sets it. It takes
a minute or two; the machine should have nothing else to do meanwhile.`,
		Example: `  chunktide tune --config chunktide.yaml --latency 500ms --svg tune.svg
  chunktide tune --config chunktide.yaml --write chunktide.yaml
  chunktide tune -o json --batches 1,8,64 --lengths 64,256 | jq .per_token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Repeats < 1 {
				return usagef("--repeats %d: want 1 or more", o.Repeats)
			}
			if o.Latency < 0 {
				return usagef("--latency %v: want a time, or 0 for any", o.Latency)
			}
			cfg, logger, err := a.loadQuiet(configs.Embedder)
			if err != nil {
				return err
			}
			o.Progress = func(what string) {
				if a.terminal() {
					fmt.Fprintf(a.io.err, "\r\033[K%s", what)
				}
			}
			report, err := tune.Run(cmd.Context(), cfg.Embedder, func(c embedder.Config) (embedder.Encoder, error) {
				return embedder.New(cmd.Context(), c, logger, nil)
			}, o)
			if a.terminal() {
				fmt.Fprint(a.io.err, "\r\033[K")
			}
			if err != nil {
				return err
			}
			return a.deliver(report, svg, write)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.Latency, "latency", 0, "the most that a batch may take to encode; 0: any time")
	f.IntSliceVar(&o.Batches, "batches", nil, "texts of a call to measure (default: chosen for the device)")
	f.IntSliceVar(&o.Lengths, "lengths", nil, "tokens of a text to measure (default 32,128)")
	f.IntSliceVar(&o.Threads, "threads", nil, "values of embedder.threads to try")
	f.IntSliceVar(&o.RunTokens, "run-tokens", nil, "values of embedder.run_tokens to try")
	f.IntSliceVar(&o.Windows, "batch-tokens", nil, "values of kafka.batch.tokens to try")
	f.IntVar(&o.Repeats, "repeats", 3, "how often each is measured; the median counts")
	f.StringVar(&svg, "svg", "", "also draw the plot into this `file`")
	f.StringVar(&write, "write", "", "set what was chosen in this YAML `file`; everything else in it stays as it is")
	return cmd
}

// deliver prints the report, and writes what was asked for.
func (a *app) deliver(report tune.Report, svg, write string) error {
	if svg != "" {
		if err := os.WriteFile(svg, []byte(report.SVG()), 0o644); err != nil {
			return fmt.Errorf("--svg: %w", err)
		}
	}
	if write != "" {
		if err := configs.EditFile(write, chosenSettings(report.Choice)); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
	}
	if a.json() {
		return a.printJSON(report)
	}
	return printTuning(a.io.out, report)
}

func chosenSettings(c tune.Choice) map[string]int {
	values := map[string]int{"kafka.batch.tokens": c.BatchTokens, "kafka.batch.events": c.BatchEvents}
	if c.Threads > 0 {
		values["embedder.threads"] = c.Threads
	}
	if c.RunTokens > 0 {
		values["embedder.run_tokens"] = c.RunTokens
	}
	return values
}

func printTuning(out io.Writer, r tune.Report) error {
	fmt.Fprintf(out, "%s\n\n%s\n", r.ModelVersion, r.Text(64, 14))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tt0\tc\tceiling 1/c\tknee\tlargest error\t")
	for _, l := range r.Lengths {
		knee := numberOf(l.Knee, "text")
		if l.Bound {
			knee += " (latency)"
		}
		fmt.Fprintf(table, "texts of %d tokens\t%s\t%s a text\t%.4g texts/s\t%s\t%.0f %%\t\n", l.Tokens, duration(l.T0), duration(l.C), l.Ceiling(), knee, 100*l.Error)
	}
	fmt.Fprintf(table, "all, by tokens\t%s\t%s a token\t%.4g tokens/s\t%d tokens\t%.0f %%\t\n", duration(r.Tokens.T0), duration(r.Tokens.C),
		r.Tokens.Ceiling(), r.KneeTokens, 100*r.Tokens.Error)
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nOn texts of mixed lengths, about 50 tokens each:")
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, part := range []struct {
		setting    string
		candidates []tune.Candidate
		choice     int
	}{
		{"embedder.threads", r.Threads, r.Choice.Threads},
		{"embedder.run_tokens", r.RunTokens, r.Choice.RunTokens},
		{"kafka.batch.tokens", r.Windows, r.Choice.BatchTokens},
	} {
		for _, c := range part.candidates {
			mark := ""
			if c.Value == part.choice {
				mark = "<- chosen"
			}
			fmt.Fprintf(table, "%s\t%d\t%s\t%.0f tokens/s\t%s\t\n", part.setting, c.Value, duration(c.Seconds), c.TokensPerSecond, mark)
		}
	}
	return table.Flush()
}

// duration shows seconds in three digits or so.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	for _, step := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= step {
			return d.Round(step / 100).String()
		}
	}
	return d.String()
}
