package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/deadletter"
)

// redriven is the result of dlq redrive.
type redriven struct {
	Topic  string `json:"topic"`
	DryRun bool   `json:"dry_run"`
	// Sent were sent, or would be; Left were not.
	Sent    int                  `json:"sent"`
	Left    int                  `json:"left"`
	Letters []deadletter.Verdict `json:"letters"`
}

func (a *app) dlqRedriveCommand() *cobra.Command {
	var which letterFlags
	var yes, all, dryRun bool
	cmd := &cobra.Command{
		Use:   "redrive",
		Short: "Send dead letters to their topic once more, at most once each",
		Long: `Redrive sends the original of each letter, to the byte, to the topic and partition that it came
from. It decodes each with the present settings first, and leaves what would be refused
again. Versions decide against what came since, so that nothing newer is overwritten.

Without --yes nothing is sent: it says what would be, and why not. Each letter is sent at
most once, also if two people do it at once, or it is killed: record and mark go out in one
transaction. A letter that fails again is a new letter, whose header tells which it was.

It exits with 1 if letters were left for another reason than that they were sent before.`,
		Example: `  chunktide dlq redrive --reason too_large
  chunktide dlq redrive --reason too_large --since -2h --yes
  chunktide dlq redrive --offset 0:17-40 --yes -o json | jq .sent`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := which.filter(time.Now())
			switch {
			case err != nil:
				return err
			case yes && dryRun:
				return usagef("--yes and --dry-run: give one of them")
			case all && !filter.Empty():
				return usagef("--all with another choice: give one of them")
			case yes && filter.Empty() && !all:
				return usagef("say which letters, by --reason, --since, --until or --offset, or give --all")
			}
			return a.redrive(cmd.Context(), filter, yes)
		},
	}
	which.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all letters")
	cmd.Flags().BoolVar(&yes, "yes", false, "send them")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "send nothing, and say what would be sent: so it is without --yes")
	return cmd
}

func (a *app) redrive(ctx context.Context, filter deadletter.Filter, send bool) error {
	cfg, logger, err := a.loadQuiet(configs.Kafka, configs.Events)
	if err != nil {
		return err
	}
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return err
	}
	out := redriven{Topic: cfg.Kafka.DeadLetters(), DryRun: !send, Letters: []deadletter.Verdict{}}
	refused := 0
	failed := deadletter.Run(ctx, deadletter.Options{Kafka: cfg.Kafka, Decode: decoder.Decode, Filter: filter, Send: send, Logger: logger},
		func(v deadletter.Verdict) error {
			switch {
			case v.Sent || v.Send && !send:
				out.Sent++
			case v.Redriven == nil && !v.Twin:
				refused++
				out.Left++
			default:
				out.Left++
			}
			out.Letters = append(out.Letters, v)
			return nil
		})
	if failed != nil && len(out.Letters) == 0 {
		return failed // nothing is known of any letter
	}
	if err := errors.Join(failed, a.printRedriven(out)); err != nil {
		return err
	}
	if refused > 0 {
		return fmt.Errorf("%s cannot be sent unchanged; chunktide dlq explain says what to do", numberOf(refused, "letter"))
	}
	return nil
}

func (a *app) printRedriven(r redriven) error {
	if a.json() {
		return a.printJSON(r)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LETTER\tREASON\tORIGINAL\tREDRIVE")
	for _, v := range r.Letters {
		what := "left: " + v.Why
		switch {
		case v.Sent:
			what = fmt.Sprint("sent to ", v.Redriven.To)
		case v.Send:
			what = "would be sent"
		}
		cells(table, v.Place, orDash(v.Reason), v.Original, what)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.DryRun {
		_, err := fmt.Fprintf(a.io.err, "%s would be sent, %d left; nothing was changed: --yes sends them\n", numberOf(r.Sent, "letter"), r.Left)
		return err
	}
	_, err := fmt.Fprintf(a.io.err, "%s sent, %d left\n", numberOf(r.Sent, "letter"), r.Left)
	return err
}
