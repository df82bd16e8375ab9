package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/sink"
)

func (a *app) searchCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "search TEXT",
		Short: "Find the chunks nearest to a text",
		Long: `Search encodes the text with the model of your settings, and refuses if the index was
built with another: vectors of two models cannot be compared.`,
		Example: `  chunktide search "how do I reset my password"
  chunktide search -o json --limit 3 "idempotent writes" | jq '.[].text'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if limit < 1 {
				return usagef("--limit %d: want 1 or more", limit)
			}
			cfg, logger, err := a.loadQuiet(configs.Embedder, configs.Qdrant)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), searchTimeout)
			defer cancel()
			hits, err := searchOnce(ctx, cfg, strings.Join(args, " "), limit, logger)
			if err != nil {
				return err
			}
			return a.printHits(hits)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 5, "how many chunks to show")
	return cmd
}

// searchTimeout is how long the index may take to be reached and to answer: a
// person waits for it.
const searchTimeout = 15 * time.Second

func searchOnce(ctx context.Context, cfg configs.Config, text string, limit int, logger *slog.Logger) (hits []sink.Hit, err error) {
	encoder, err := embedder.New(ctx, cfg.Embedder, logger, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	index, err := sink.OpenReader(ctx, cfg.Qdrant, worker.ModelPin(encoder.Recipe()), logger, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	return search(ctx, encoder, index, text, limit)
}

// searcher is an index to search.
type searcher interface {
	Search(ctx context.Context, vector []float32, limit int) ([]sink.Hit, error)
}

func search(ctx context.Context, encoder embedder.Encoder, index searcher, text string, limit int) ([]sink.Hit, error) {
	query, err := encoder.EncodeQuery(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("encode the query: %w", err)
	}
	return index.Search(ctx, query.Vector, limit)
}

func (a *app) printHits(hits []sink.Hit) error {
	if a.json() {
		if hits == nil {
			hits = []sink.Hit{}
		}
		return a.printJSON(hits)
	}
	if len(hits) == 0 {
		_, err := fmt.Fprintln(a.io.out, "The index holds no chunk.")
		return err
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	for _, h := range hits {
		cells(table, fmt.Sprintf("%.3f", h.Score), h.Source+"/"+h.DocumentID+"/"+h.ChunkID, excerpt(h.Text, 90))
	}
	return table.Flush()
}

// excerpt is the beginning of a text on one line.
func excerpt(text string, runes int) string {
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) <= runes {
		return string(line)
	}
	return string(line[:runes-1]) + "…"
}
