package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/embedder"
)

func (a *app) encodeCommand() *cobra.Command {
	var tokens, query bool
	cmd := &cobra.Command{
		Use:   "encode",
		Short: "Turn texts on standard input into vectors on standard output",
		Long: `Encode reads a text a line, plain or as {"text": "…"}, and writes {"vector": […]} a line,
in the same order; with --tokens it writes {"ids": […]}, what the model would read.
A text that cannot be encoded ends it, with the number of its line.`,
		Example: `  echo "hello world" | chunktide encode
  jq -c '{text}' corpus.jsonl | chunktide encode > vectors.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg, logger, err := a.loadQuiet(configs.Embedder)
			if err != nil {
				return err
			}
			encoder, err := embedder.New(cmd.Context(), cfg.Embedder, logger, nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, encoder.Close()) }()
			out := bufio.NewWriter(a.io.out)
			defer func() { err = errors.Join(err, out.Flush()) }()
			return encodeLines(cmd.Context(), a.io.in, out, cfg.Events.Limits.RecordBytes, encodeWith(encoder, tokens, query))
		},
	}
	cmd.Flags().BoolVar(&tokens, "tokens", false, "write token ids, not vectors")
	cmd.Flags().BoolVar(&query, "query", false, "encode as queries, not as documents (models with a query prefix)")
	return cmd
}

// encodeRun is how many lines are encoded together: enough to fill every
// core, and to sort by length.
const encodeRun = 256

func encodeLines(ctx context.Context, in io.Reader, out io.Writer, lineBytes int, encode func(context.Context, []string) ([]any, error)) error {
	lines := newLines(in, lineBytes)
	results := json.NewEncoder(out)
	var texts []string
	done := 0
	flush := func() error {
		values, err := encode(ctx, texts)
		var refused *chunk.Rejected
		if errors.As(err, &refused) {
			first := slices.Min(keys(refused.Texts))
			return fmt.Errorf("line %d: %w", done+first+1, refused.Texts[first])
		}
		if err != nil {
			return fmt.Errorf("lines %d to %d: %w", done+1, done+len(texts), err)
		}
		for _, v := range values {
			if err := results.Encode(v); err != nil {
				return err
			}
		}
		done += len(texts)
		texts = texts[:0]
		return nil
	}
	for lines.Scan() {
		text, err := lineText(lines.Text())
		if err != nil {
			return fmt.Errorf("line %d: %w", done+len(texts)+1, err)
		}
		if texts = append(texts, text); len(texts) == encodeRun {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", done+len(texts)+1, err)
	}
	return flush()
}

func keys[V any](m map[int]V) []int {
	out := make([]int, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

// lineText is the text of a line: a JSON object's, or the line itself.
func lineText(line string) (string, error) {
	if !strings.HasPrefix(strings.TrimSpace(line), "{") {
		return line, nil
	}
	var object struct{ Text *string }
	if err := json.Unmarshal([]byte(line), &object); err != nil || object.Text == nil {
		return "", errors.New(`begins with { but is no object with a string "text"; write plain text, or {"text": "…"}`)
	}
	return *object.Text, nil
}

func encodeWith(encoder embedder.Encoder, tokens, query bool) func(context.Context, []string) ([]any, error) {
	return func(ctx context.Context, texts []string) ([]any, error) {
		out := make([]any, len(texts))
		if tokens {
			for i, t := range texts {
				ids, err := encoder.TokenIDs(t)
				if err != nil {
					return nil, err
				}
				out[i] = map[string][]int64{"ids": ids}
			}
			return out, nil
		}
		embeddings, err := encodeTexts(ctx, encoder, texts, query)
		if err != nil {
			return nil, err
		}
		for i, e := range embeddings {
			out[i] = map[string][]float32{"vector": e.Vector}
		}
		return out, nil
	}
}

func encodeTexts(ctx context.Context, encoder embedder.Encoder, texts []string, query bool) ([]chunk.Embedding, error) {
	if !query {
		return encoder.Encode(ctx, texts)
	}
	out := make([]chunk.Embedding, len(texts))
	for i, t := range texts {
		e, err := encoder.EncodeQuery(ctx, t)
		if err != nil {
			return nil, err
		}
		out[i] = e
	}
	return out, nil
}
