package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/backfill"
	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/replay"
	"chunktide/sink"
)

// survey is the result of a dry run.
type survey struct {
	Model string `json:"model_version"`
	// Effect is what the events would do; see [replay.Effect].
	replay.Effect
	// Examples are the places of some malformed rows, with the reason.
	Examples []string `json:"malformed_examples"`
	// Texts are those of all upserts, with their tokens; CacheHits of them have
	// their vector in the cache.
	Texts      int64 `json:"texts"`
	TextTokens int64 `json:"text_tokens"`
	CacheHits  int64 `json:"cache_hits"`
	// TokensPerSecond was measured by encoding SampleTexts of the texts that
	// would be encoded; it is nil if there were none, or none were wanted.
	SampleTexts     int      `json:"sample_texts"`
	TokensPerSecond *float64 `json:"tokens_per_second,omitempty"`
	// Seconds is what encoding would take at that rate, or at
	// backfill.max_tokens_per_second if that is lower.
	MaxTokensPerSecond int      `json:"max_tokens_per_second"`
	Seconds            *float64 `json:"encode_seconds,omitempty"`
	Cost               float64  `json:"cost"`
}

const maxExamples = 5

// surveyor counts without changing anything.
type surveyor struct {
	survey
	plan    *backfillPlan
	encoder embedder.Encoder
	preview *replay.Preview
	sample  *backfill.Sample
	bar     *progress
}

func (a *app) surveyBackfill(ctx context.Context, p *backfillPlan) (err error) {
	if err := a.reach(ctx, p.cfg.Qdrant, p.logger); err != nil {
		return err
	}
	encoder, err := a.workerEncoder(ctx, p.cfg, p.logger, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	found, err := a.survey(ctx, p, encoder)
	if err != nil {
		return err
	}
	return a.printSurvey(found, p.cfg.Backfill.PricePerMillionTokens > 0)
}

// survey reads what a backfill would read.
func (a *app) survey(ctx context.Context, p *backfillPlan, encoder embedder.Encoder) (found *survey, err error) {
	s := &surveyor{plan: p, encoder: encoder, sample: backfill.NewSample(p.sample), bar: a.progress()}
	s.Model, s.Examples = encoder.Recipe().ModelVersion(), []string{}
	closeParts, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeParts()) }()
	if p.topic {
		err = s.readTopic(ctx)
	} else {
		err = s.readInput(ctx, a)
	}
	if err == nil {
		err = s.preview.Flush(ctx)
	}
	if err == nil {
		err = s.estimate(ctx)
	}
	return &s.survey, err
}

// open connects to the cache and, if it is there, to the collection.
func (s *surveyor) open(ctx context.Context) (closeParts func() error, err error) {
	recipe := s.encoder.Recipe()
	vectors, err := cache.New(s.plan.cfg.Cache, recipe.Digest(), recipe.Dim, s.plan.logger, nil)
	if err != nil {
		return nil, err
	}
	closeParts = vectors.Close
	var index replay.Index = replay.Empty{}
	reader, err := sink.OpenWritten(ctx, s.plan.cfg.Qdrant, worker.ModelPin(recipe), s.plan.logger, nil)
	switch {
	case err == nil:
		index = reader
		closeParts = func() error { return errors.Join(vectors.Close(), reader.Close()) }
	case !errors.Is(err, sink.ErrNoCollection):
		return nil, errors.Join(err, vectors.Close())
	}
	s.preview = replay.New(index, countedCache{vectors, &s.CacheHits}, func(text string) int {
		s.sample.Add(text) // it would be encoded
		return s.encoder.Tokens(text)
	}, s.plan.cfg.Backfill.Batch.Events)
	return closeParts, nil
}

// countedCache counts the hits. Asking fills nothing but the memory of this
// process.
type countedCache struct {
	*cache.Cache
	hits *int64
}

func (c countedCache) Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding {
	found := c.Cache.Get(ctx, hashes)
	for _, e := range found {
		if e.Vector != nil {
			*c.hits++
		}
	}
	return found
}

func (s *surveyor) readInput(ctx context.Context, a *app) (err error) {
	in, closeInput, err := a.openInput(ctx, s.plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeInput()) }()
	for row, err := range in.Rows(ctx, backfill.Cursor{}) {
		if err != nil {
			return err
		}
		if err := s.play(ctx, row.Events, row.Place.String(), row.Err); err != nil {
			return err
		}
	}
	return nil
}

func (s *surveyor) readTopic(ctx context.Context) error {
	cfg := s.plan.cfg
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return err
	}
	ranges, err := consumer.Ranges(ctx, cfg.Kafka)
	if err != nil {
		return err
	}
	return consumer.Scan(ctx, cfg.Kafka, ranges, decoder.Decode, func(v consumer.Visited) error {
		o := v.Record.Origin
		return s.play(ctx, v.Events, fmt.Sprintf("%s/%d:%d", o.Topic, o.Partition, o.Offset), v.Err)
	}, s.plan.logger)
}

func (s *surveyor) play(ctx context.Context, events []chunk.Event, place string, malformed error) error {
	if malformed != nil && len(s.Examples) < maxExamples {
		s.Examples = append(s.Examples, fmt.Sprintf("%s: %v", place, malformed))
	}
	for i := range events {
		if events[i].Text != "" {
			s.Texts++
			s.TextTokens += int64(s.encoder.Tokens(events[i].Text))
		}
	}
	s.bar.show("%s read, %s to be encoded", numberOf(s.Records, "row"), numberOf(s.ModelCalls, "text"))
	return s.preview.Play(ctx, events, malformed, &s.Effect)
}

// warmUp is how many texts are encoded before the clock starts: the first ones
// pay for what is made once.
const warmUp = 8

// estimate measures the encoder and reckons.
func (s *surveyor) estimate(ctx context.Context) error {
	cfg := s.plan.cfg.Backfill
	s.MaxTokensPerSecond = cfg.MaxTokensPerSecond
	s.Cost = float64(s.Tokens) / 1e6 * cfg.PricePerMillionTokens
	texts := s.sample.Texts
	if len(texts) == 0 {
		return nil
	}
	if _, _, err := s.encode(ctx, texts[:min(warmUp, len(texts))]); err != nil {
		return err
	}
	tokens, took, err := s.encode(ctx, texts)
	if err != nil || tokens == 0 {
		return err
	}
	rate := float64(tokens) / took.Seconds()
	s.SampleTexts, s.TokensPerSecond = len(texts), &rate
	if cfg.MaxTokensPerSecond > 0 {
		rate = min(rate, float64(cfg.MaxTokensPerSecond))
	}
	need := float64(s.Tokens) / rate
	s.Seconds = &need
	return nil
}

func (s *surveyor) encode(ctx context.Context, texts []string) (tokens int, took time.Duration, err error) {
	start := time.Now()
	embeddings, err := s.encoder.Encode(ctx, slices.Clone(texts))
	took = time.Since(start)
	var refused *chunk.Rejected
	if err != nil && !errors.As(err, &refused) {
		return 0, took, fmt.Errorf("encode a sample of %d texts: %w", len(texts), err)
	}
	for _, e := range embeddings {
		tokens += e.Tokens
	}
	return tokens, took, nil
}

func (a *app) printSurvey(s *survey, costs bool) error {
	if a.json() {
		return a.printJSON(s)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	row := rows(table)
	row("rows", "%d, %d of them malformed", s.Records, s.Malformed)
	for _, e := range s.Examples {
		row("", "%s", e)
	}
	row("events", "%d: %s, %s, %s, %d unchanged", s.Events, numberOf(s.Adds, "add"), numberOf(s.Edits, "edit"), numberOf(s.Deletes, "delete"), s.Unchanged)
	row("texts", "%d with %s, %d of them in the cache", s.Texts, numberOf(s.TextTokens, "token"), s.CacheHits)
	row("model calls", "%d with %s", s.ModelCalls, numberOf(s.Tokens, "token"))
	if s.Seconds != nil {
		bound := ""
		if s.MaxTokensPerSecond > 0 {
			bound = fmt.Sprint(" and bounded to ", s.MaxTokensPerSecond)
		}
		row("time", "%s to encode, at %.0f tokens/s, measured here on %d of the texts%s", roughly(*s.Seconds), *s.TokensPerSecond, s.SampleTexts, bound)
	}
	if costs {
		row("cost", "%s", money(s.Cost))
	}
	return table.Flush()
}
