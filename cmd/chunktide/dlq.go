package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/deadletter"
)

func (a *app) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "The dead letters: list them, explain one, send them once more",
		Long: `What a worker can never apply lies in the topic of the dead letters (kafka.dead_letter_topic),
with the reason. These commands read it, and send to the original topic what would be taken
now: at most once each.`,
		Example: `  chunktide dlq list
  chunktide dlq explain 0:17
  chunktide dlq redrive --reason too_large
  chunktide dlq redrive --reason too_large --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usagef("dlq: name a command"))
		},
	}
	cmd.AddCommand(a.dlqListCommand(), a.dlqExplainCommand(), a.dlqRedriveCommand())
	for _, c := range cmd.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return cmd
}

// letterFlags choose letters.
type letterFlags struct {
	reasons, offsets []string
	since, until     string
}

func (l *letterFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&l.reasons, "reason", nil, "only letters of this `reason`; may be repeated")
	f.StringVar(&l.since, "since", "", "only letters written since this `time`: 2026-05-04T10:00:00Z, or -2h from now")
	f.StringVar(&l.until, "until", "", "only letters written before this `time`")
	f.StringSliceVar(&l.offsets, "offset", nil, "only letters at these `offsets` of the dead-letter topic: 0:17, 0:17-40 (both included), 0:17-; may be repeated")
}

func (l *letterFlags) filter(now time.Time) (f deadletter.Filter, err error) {
	for _, reason := range l.reasons {
		if _, known := deadletter.AdviceOn(reason); !known {
			return f, usagef("--reason %s: no worker gives that reason; docs/EVENTS.md lists them, chunktide dlq list those that are there", reason)
		}
	}
	f.Reasons = l.reasons
	if f.Since, err = pointInTime(l.since, now); err != nil {
		return f, usagef("--since %w", err)
	}
	if f.Until, err = pointInTime(l.until, now); err != nil {
		return f, usagef("--until %w", err)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, usagef("--since %s is not before --until %s: no letter lies between them", l.since, l.until)
	}
	for _, text := range l.offsets {
		span, err := deadletter.ParseSpan(text)
		if err != nil {
			return f, usagef("--offset %w", err)
		}
		f.Spans = append(f.Spans, span)
	}
	return f, nil
}

// pointInTime reads RFC 3339, or a time from now; "" is the zero time.
func pointInTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back < 0 {
		return now.Add(back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q: want a time like 2006-01-02T15:04:05Z, or one from now like -2h", text)
	}
	return at, nil
}

// lettersListed is the result of dlq list. Records are there with --records.
type lettersListed struct {
	Topic   string              `json:"topic"`
	Letters int                 `json:"letters"`
	Groups  []deadletter.Group  `json:"reasons"`
	Foreign int                 `json:"foreign"`
	Records []deadletter.Letter `json:"records,omitempty"`
}

func (a *app) dlqListCommand() *cobra.Command {
	var which letterFlags
	var records bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters, grouped by reason",
		Long: `List counts the dead letters by reason, with when the first and the last were written, and how
many of them were redriven. --records names each instead: where it lies (partition:offset of
the dead-letter topic), where its original lay, its sizes and its key, but not what it says.`,
		Example: `  chunktide dlq list
  chunktide dlq list --reason broken_json --since -2h --records
  chunktide dlq list -o json | jq '.reasons[] | {reason, letters}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := which.filter(time.Now())
			if err != nil {
				return err
			}
			cfg, logger, err := a.loadQuiet(configs.Kafka)
			if err != nil {
				return err
			}
			box, err := deadletter.Read(cmd.Context(), cfg.Kafka, logger)
			if err != nil {
				return err
			}
			letters, err := filter.Choose(box)
			if err != nil {
				return err
			}
			out := lettersListed{Topic: box.Topic, Letters: len(letters), Groups: deadletter.Groups(letters), Foreign: box.Foreign}
			if records {
				out.Records = letters
			}
			return a.printLetters(out, records)
		},
	}
	which.add(cmd)
	cmd.Flags().BoolVar(&records, "records", false, "name each letter")
	return cmd
}

func (a *app) printLetters(l lettersListed, records bool) error {
	if a.json() {
		return a.printJSON(l)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	if records {
		fmt.Fprintln(table, "LETTER\tWRITTEN\tREASON\tSTAGE\tORIGINAL\tVALUE\tKEY\tREDRIVEN")
		for _, r := range l.Records {
			cells(table, r.Place, r.Written.UTC().Format(time.RFC3339), orDash(r.Reason), orDash(r.Stage), r.Original,
				sizeOf(r), orDash(quoted(r.Key)), redrivenAt(r.Redriven))
		}
	} else {
		fmt.Fprintln(table, "REASON\tLETTERS\tREDRIVEN\tFIRST\tLAST\tSTAGES\tTOPICS")
		for _, g := range l.Groups {
			cells(table, orDash(g.Reason), g.Letters, g.Redriven, g.First.UTC().Format(time.RFC3339), g.Last.UTC().Format(time.RFC3339),
				strings.Join(g.Stages, ", "), strings.Join(g.Topics, ", "))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if l.Foreign > 0 {
		fmt.Fprintf(a.io.err, "%s of Chunktide's, in topic %s\n", oneOrMore(l.Foreign, "record is no dead letter", "records are no dead letters"), l.Topic)
	}
	_, err := fmt.Fprintf(a.io.err, "%s of %s\n", numberOf(l.Letters, "letter"), l.Topic)
	return err
}

func sizeOf(l deadletter.Letter) string {
	switch {
	case l.Tombstone:
		return "tombstone"
	case l.Omitted != "":
		return "left out (" + strings.TrimPrefix(l.Omitted, "value ") + ")"
	default:
		return numberOf(l.ValueBytes, "byte")
	}
}

// quoted lets no control character of a key's reach the terminal.
func quoted(key string) string {
	if key == "" {
		return ""
	}
	q := fmt.Sprintf("%q", key)
	if strings.HasPrefix(key, "{") {
		return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	}
	return q
}

// printable is a text without control characters: what others wrote must not
// reach a terminal as commands.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\ufffd'
		}
		return r
	}, text)
}

// cells writes a line of a table. Much of what stands in it comes from records
// and from servers.
func cells(table io.Writer, values ...any) {
	line := make([]string, len(values))
	for i, v := range values {
		line[i] = printable(fmt.Sprint(v))
	}
	fmt.Fprintln(table, strings.Join(line, "\t"))
}

// rows writes a name and what it is, a line each.
func rows(table io.Writer) func(name, format string, args ...any) {
	return func(name, format string, args ...any) { cells(table, name, fmt.Sprintf(format, args...)) }
}

func redrivenAt(r *deadletter.Redriven) string {
	if r == nil {
		return "-"
	}
	return r.At.UTC().Format(time.RFC3339)
}
