package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/cost"
)

// observed is the result of `cost observe`.
type observed struct {
	Workers int `json:"workers"`
	// Models are the model_versions of the workers, each once.
	Models []string `json:"model_versions"`
	// Price is what a million tokens cost; nil without a price.
	Price *cost.Amount `json:"price_per_million_tokens,omitempty"`
	// SinceStart is the sum over the workers, each since it started, and Interval
	// what they did between two readings; nil if one was asked for.
	SinceStart cost.Span  `json:"since_start"`
	Interval   *cost.Span `json:"interval,omitempty"`
}

func (a *app) costObserveCommand() *cobra.Command {
	var urls []string
	var interval time.Duration
	var price priceFlags
	cmd := &cobra.Command{
		Use:   "observe",
		Short: "Read a running worker's counters: tokens encoded and saved, money, per day",
		Long: `Observe reads /metrics of a worker twice and says what it encoded and saved, since it started
and between the readings, and what that is in a day. Give --url for each worker of the group:
they are added up. The token of admin.token is sent, which all of them share.

The price is that of the flags, else backfill.price_per_million_tokens; without one there is no
money in the answer. With a GPU's price "saved" is time that the machine had for other work; it
is money only if you give the machine back.`,
		Example: `  chunktide cost observe --price-per-million-tokens 0.02
  chunktide cost observe --url http://worker-0:9470/metrics --url http://worker-1:9470/metrics --interval 5m -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 0 {
				return usagef("--interval %s: want a time, or 0 for a single reading", interval)
			}
			cfg, _, err := a.loadQuiet(configs.AdminAPI)
			if err != nil {
				return err
			}
			p, err := price.or(cfg.Backfill.PricePerMillionTokens)
			if err != nil {
				return err
			}
			if len(urls) == 0 {
				if cfg.Admin.URL() == "" {
					return usagef("admin.address is empty: name the worker's metrics with --url")
				}
				urls = []string{cfg.Admin.URL() + "/metrics"}
			}
			client, err := cfg.Admin.Client()
			if err != nil {
				return err
			}
			client.Timeout = readTimeout
			defer client.CloseIdleConnections()
			result, err := observe(cmd.Context(), client, urls, interval, p)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(result)
			}
			return printObserved(a.io.out, result)
		},
	}
	cmd.Flags().StringArrayVar(&urls, "url", nil, "`URL` of a worker's /metrics (default: at admin.address); may be repeated")
	cmd.Flags().DurationVar(&interval, "interval", 10*time.Second, "time between the two readings; 0: a single one")
	price.add(cmd)
	return cmd
}

// readTimeout bounds one reading of one worker.
const readTimeout = 10 * time.Second

func observe(ctx context.Context, client *http.Client, urls []string, interval time.Duration, price *cost.Price) (observed, error) {
	out := observed{Workers: len(urls), Models: []string{}}
	if price != nil {
		perMillion := price.PerMillionTokens()
		out.Price = &perMillion
	}
	first, err := readAll(ctx, client, urls)
	if err != nil {
		return out, err
	}
	if interval > 0 {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	last := first
	if interval > 0 {
		if last, err = readAll(ctx, client, urls); err != nil {
			return out, err
		}
	}
	seen := map[string]bool{}
	for i, c := range last {
		if !seen[c.Model] {
			seen[c.Model], out.Models = true, append(out.Models, c.Model)
		}
		since := cost.SinceStart(c, price)
		if i > 0 {
			since = out.SinceStart.Plus(since)
		}
		out.SinceStart = since
		if interval == 0 {
			continue
		}
		between, err := cost.Between(first[i], c, price)
		if err != nil {
			return out, fmt.Errorf("%s: %w", urls[i], err)
		}
		if i > 0 {
			between = out.Interval.Plus(between)
		}
		out.Interval = &between
	}
	return out, nil
}

// readAll asks all workers, and reports every one that does not answer.
func readAll(ctx context.Context, client *http.Client, urls []string) ([]cost.Counters, error) {
	out := make([]cost.Counters, len(urls))
	var errs []error
	for i, url := range urls {
		var err error
		if out[i], err = cost.Fetch(ctx, client, url); err != nil {
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

func printObserved(out io.Writer, o observed) error {
	fmt.Fprintf(out, "Workers: %d. Model: %s.", o.Workers, strings.Join(o.Models, ", "))
	heads := []string{"", "texts", "tokens", "tokens a day"}
	if o.Price != nil {
		fmt.Fprintf(out, " Price of a million tokens: %s.", *o.Price)
		heads = append(heads, "money", "a day")
	}
	fmt.Fprint(out, "\n\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...string) {
		cells = append(cells, make([]string, len(heads))...)[:len(heads)]
		fmt.Fprintln(table, strings.Join(cells, "\t")+"\t")
	}
	line(heads...)
	span := func(name string, s cost.Span) {
		if s.Seconds > 0 {
			name += " (" + roughly(s.Seconds) + ")"
		}
		var day cost.Day
		if s.Day != nil {
			day = *s.Day
		}
		line(name)
		line("encoded", count(s.Calls), count(s.TokensEncoded), daily(s.Day, day.TokensEncoded), optional(s.Spent), optional(day.Spent))
		line("saved", count(s.CallsSaved), count(s.TokensSaved), daily(s.Day, day.TokensSaved), optional(s.Saved), optional(day.Saved))
	}
	span("since the start", o.SinceStart)
	if o.Interval != nil {
		span("now", *o.Interval)
	}
	return table.Flush()
}

func count(n int64) string { return grouped(big.NewInt(n)) }

// daily is a number of tokens a day, rounded; - where the rate is not known.
func daily(known *cost.Day, tokens cost.Amount) string {
	if known == nil {
		return "-"
	}
	n, _ := new(big.Int).SetString(tokens.Rat().FloatString(0), 10)
	return grouped(n)
}

func optional(a *cost.Amount) string {
	if a == nil {
		return "-"
	}
	return a.String()
}
