package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/deadletter"
)

// letterExplained is the result of dlq explain.
type letterExplained struct {
	deadletter.Verdict
	Advice *deadletter.Advice `json:"advice"`
	// OriginalLies says whether the original is still in its topic.
	OriginalLies bool `json:"original_lies"`
	// Value and Headers are there with --text; NoValue says why there is no Value.
	Value   *string           `json:"value,omitempty"`
	NoValue string            `json:"no_value,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

func (a *app) dlqExplainCommand() *cobra.Command {
	var text bool
	cmd := &cobra.Command{
		Use:   "explain PARTITION:OFFSET",
		Short: "Tell everything about one dead letter, and what to do about it",
		Long: `Explain shows one letter, by its place in the dead-letter topic: why it was refused, what that
reason means and what to do about it, where the original lay and whether it is still there,
whether it was redriven, and whether it would be taken now. What it says is shown with --text
only.`,
		Example: `  chunktide dlq explain 0:17
  chunktide dlq explain 0:17 --text -o json | jq -r .value`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			place, err := deadletter.ParsePlace(args[0])
			if err != nil {
				return usageError{err}
			}
			cfg, logger, err := a.loadQuiet(configs.Kafka, configs.Events)
			if err != nil {
				return err
			}
			decoder, err := chunk.NewDecoder(cfg.Events)
			if err != nil {
				return err
			}
			one := deadletter.Filter{Spans: []deadletter.Span{{Partition: place.Partition, First: place.Offset, Last: place.Offset}}}
			var out *letterExplained
			err = deadletter.Run(cmd.Context(), deadletter.Options{Kafka: cfg.Kafka, Decode: decoder.Decode, Filter: one, Logger: logger},
				func(v deadletter.Verdict) error {
					out = &letterExplained{Verdict: v}
					return nil
				})
			if err != nil {
				return err
			}
			letters := cfg.Kafka.DeadLetters()
			if out == nil {
				return fmt.Errorf("there is no dead letter at %s of topic %s: chunktide dlq list --records names those that are there", place, letters)
			}
			if advice, known := deadletter.AdviceOn(out.Reason); known {
				out.Advice = &advice
			}
			if _, out.OriginalLies, err = deadletter.Lies(cmd.Context(), cfg.Kafka, out.Letter, logger); err != nil {
				return err
			}
			if text {
				lies := chunk.Origin{Topic: letters, Partition: place.Partition, Offset: place.Offset}
				full, _, err := consumer.ReadOne(cmd.Context(), cfg.Kafka, lies, logger)
				if err != nil {
					return err
				}
				out.show(full)
			}
			return a.printExplained(*out)
		},
	}
	cmd.Flags().BoolVar(&text, "text", false, "show what the letter says, too")
	return cmd
}

// show adds what the letter says.
func (e *letterExplained) show(full chunk.Record) {
	e.Headers = map[string]string{}
	for _, h := range full.Headers {
		e.Headers[h.Key] = strings.ToValidUTF8(string(h.Value), "\ufffd")
	}
	lies := "is gone, too"
	if e.OriginalLies {
		lies = "still has it"
	}
	switch {
	case full.Value != nil:
		value := strings.ToValidUTF8(string(full.Value), "\ufffd")
		e.Value = &value
	case e.Tombstone:
		e.NoValue = "the record is a tombstone, which has no value"
	case e.First >= 0:
		e.NoValue = "the letter stands for a record batch that was too large to be read (kafka.decompress_max_bytes)"
	default:
		e.NoValue = fmt.Sprintf("it was left out (%s), since the topic of the dead letters takes no record so large; the original, %s, %s", e.Omitted, e.Original, lies)
	}
}

func (a *app) printExplained(e letterExplained) error {
	if a.json() {
		return a.printJSON(e)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	row := rows(table)
	row("letter", "%s, written %s", e.Place, e.Written.UTC().Format(time.RFC3339))
	row("reason", "%s, at %s", orDash(e.Reason), orDash(e.Stage))
	row("message", "%s", orDash(e.Message))
	if e.Advice != nil {
		row("meaning", "%s", e.Advice.Happened)
		row("what to do", "%s", e.Advice.Do)
	}
	lies := "which is gone"
	if e.OriginalLies {
		lies = "which is still there"
	}
	row("original", "%s, %s", e.Original, lies)
	if !e.Time.IsZero() {
		row("", "its time is %s", e.Time.UTC().Format(time.RFC3339Nano))
	}
	row("content", "key %s, value %s", numberOf(e.KeyBytes, "byte"), sizeOf(e.Letter))
	row("key", "%s", orDash(quoted(e.Key)))
	if e.From != "" {
		row("history", "the original was redriven itself, from letter %s", e.From)
	}
	if e.Redriven != nil {
		row("redriven", "on %s, to %s", e.Redriven.At.UTC().Format(time.RFC3339), e.Redriven.To)
	} else {
		row("redriven", "no")
	}
	if e.Send {
		row("now", "it decodes with these settings, and chunktide dlq redrive --offset %s --yes would send it", e.Place)
	} else {
		row("now", "not sent: %s", e.Why)
	}
	if e.NoValue != "" {
		row("text", "not there: %s", e.NoValue)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if e.Value != nil {
		text, err := json.Marshal(*e.Value)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.io.out, "%s\n", text)
		return err
	}
	return nil
}
