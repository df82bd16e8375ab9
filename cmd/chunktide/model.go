package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/devstack/godocs"
	"chunktide/embedder"
)

func (a *app) modelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Compare models before you change yours",
		Long: `Another model, or the same one in another precision, needs another index: see chunktide
migrate. Compare says beforehand what the change is worth.`,
		Example: `  chunktide model compare .cache/models/all-MiniLM-L6-v2 .cache/models/all-MiniLM-L6-v2-int8`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usagef("model: name a command"))
		},
	}
	compare := a.modelCompareCommand()
	compare.Args = usageArgs(compare.Args)
	cmd.AddCommand(compare)
	return cmd
}

func (a *app) modelCompareCommand() *cobra.Command {
	var corpus string
	var chunks, rounds int
	cmd := &cobra.Command{
		Use:   "compare REFERENCE_DIR MODEL_DIR…",
		Short: "Measure what another precision or model changes: vectors, retrieval, speed",
		Long: `Compare encodes one corpus with each model and reports against the first: the cosine
between both vectors of a text (mean and worst), how many of a query's ten nearest
passages are the same (overlap@10), how often the nearest is (top 1), and the speed.

Every eighth text is held out: its first sentence is a query, and the text itself is not
among the passages, so no query finds itself. Texts that occur twice count once. Speed is
measured by turns, model after model and again, and is the median of each turn's ratio.
All settings but the model's folder are those of embedder in your settings.`,
		Example: `  chunktide model compare .cache/models/all-MiniLM-L6-v2 .cache/models/all-MiniLM-L6-v2-int8
  jq -c '{text}' corpus.jsonl | chunktide model compare --corpus - -o json old/ new/`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			if chunks < 1 || rounds < 1 {
				return usagef("--chunks and --rounds want 1 or more")
			}
			cfg, logger, err := a.loadQuiet(configs.Embedder)
			if err != nil {
				return err
			}
			texts, err := a.corpusTexts(cmd.Context(), corpus, chunks, cfg.Events.Limits.RecordBytes)
			if err != nil {
				return err
			}
			result, err := compareFolders(cmd.Context(), cfg.Embedder, dirs, newTrial(texts, rounds), logger)
			if err != nil {
				return err
			}
			return a.printComparison(result)
		},
	}
	cmd.Flags().StringVar(&corpus, "corpus", "", "`file` of texts, as encode reads them (- is standard input); empty: the demo's corpus")
	cmd.Flags().IntVar(&chunks, "chunks", 2000, "how many texts of the corpus to take")
	cmd.Flags().IntVar(&rounds, "rounds", 5, "how many turns of the speed measurement")
	return cmd
}

// corpusTexts are at most n texts: lines of the file at path, or documentation
// of the Go standard library.
func (a *app) corpusTexts(ctx context.Context, path string, n, lineBytes int) ([]string, error) {
	var texts []string
	if path == "" {
		passages, err := godocs.Take(ctx, n)
		for _, p := range passages {
			texts = append(texts, p.Text)
		}
		return texts, err
	}
	in := a.io.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usageError{fmt.Errorf("--corpus: %w", err)}
		}
		defer f.Close()
		in = f
	}
	lines := newLines(in, lineBytes)
	for len(texts) < n && lines.Scan() {
		text, err := lineText(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("--corpus: line %d: %w", len(texts)+1, err)
		}
		if strings.TrimSpace(text) != "" {
			texts = append(texts, text)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--corpus: line %d: %w", len(texts)+1, err)
	}
	return texts, nil
}

// compareFolders opens a model for each folder, all at once since they take
// turns, and compares them.
func compareFolders(ctx context.Context, cfg embedder.Config, dirs []string, t trial, logger *slog.Logger) (c comparison, err error) {
	if len(t.queries) == 0 || len(t.passages) < overlapDepth {
		return c, usagef("the corpus has %d different texts; at least %d are needed", len(t.queries)+len(t.passages), 2*holdOut)
	}
	var encoders []embedder.Encoder
	defer func() {
		for _, e := range encoders {
			err = errors.Join(err, e.Close())
		}
	}()
	for _, dir := range dirs {
		cfg.ModelDir, cfg.ModelName, cfg.FilesSHA256 = dir, "", nil
		e, err := embedder.New(ctx, cfg, logger, nil)
		if err != nil {
			return c, fmt.Errorf("%s: %w", dir, err)
		}
		encoders = append(encoders, e)
	}
	return t.compare(ctx, encoders)
}

func (a *app) printComparison(c comparison) error {
	if a.json() {
		return a.printJSON(c)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "model_version\tcosine mean\tworst\toverlap@10\ttop 1\tspeed")
	for _, m := range c.Models {
		cosines := "-\t-"
		if m.CosineMean != nil {
			cosines = fmt.Sprintf("%.5f\t%.5f", *m.CosineMean, *m.CosineWorst)
		}
		fmt.Fprintf(table, "%s\t%s\t%.3f\t%.3f\t%.2fx\n", m.ModelVersion, cosines, m.Overlap, m.Top1, m.Speed)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.io.out, "%s, %s, against %s; speed is the median of %s\n", numberOf(c.Passages, "passage"),
		oneOrMore(c.Queries, "query", "queries"), c.Models[0].ModelVersion, numberOf(c.Rounds, "turn"))
	return err
}
