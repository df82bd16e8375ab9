package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/bench/ceiling"
	"chunktide/configs"
	"chunktide/embedder"
)

const rounds = 3

func (b settled) textTokens() int { return b.tokens }
func (b settled) count() int      { return b.events }

// endToEnd runs one worker over a topic of n events, from its start, and
// returns what per second it got through.
func endToEnd(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, n int, of func(settled) int) (rate float64, err error) {
	d, err := start(ctx, cfg, encoder)
	if err != nil {
		return 0, err
	}
	err = d.await(ctx, n)
	rate = d.rate(of)
	return rate, errors.Join(err, d.finish(ctx))
}

// endToEndCeiling is (a): the worker from Kafka to the index's acknowledgement, against
// session.Run on the same tokens, perfectly packed.
func endToEndCeiling(ctx context.Context, s *Stage, o Options) (r Result, err error) {
	n := o.sized(4000)
	topic, err := s.topic(ctx, "ceiling", 8, n, distinct)
	if err != nil {
		return r, err
	}
	cfg, err := s.config(topic)
	if err != nil {
		return r, err
	}
	reg := prometheus.NewRegistry()
	encoder, err := embedder.New(cfg.Embedder, quiet(), reg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	bare, err := ceiling.Open(cfg.Embedder, 0, 0)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, bare.Close()) }()
	sequences := make([][]int64, n)
	for i := range sequences {
		if sequences[i], err = encoder.TokenIDs(s.text(i)); err != nil {
			return r, err
		}
	}
	packed, err := bare.Pack(sequences)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, packed.Close()) }()

	r.Head = []string{"round", "worker, tokens/s", "bare, tokens/s", "ratio"}
	var ratios []float64
	for round := range rounds {
		if cfg, err = s.config(topic); err != nil {
			return r, err
		}
		worker, err := endToEnd(ctx, cfg, encoder, n, settled.textTokens)
		if err != nil {
			return r, err
		}
		took, err := bare.Run(packed)
		if err != nil {
			return r, err
		}
		model := float64(packed.Tokens) / took.Seconds()
		ratios = append(ratios, worker/model)
		r.Rows = append(r.Rows, []string{fmt.Sprint(round + 1), fmt.Sprintf("%.0f", worker), fmt.Sprintf("%.0f", model), fmt.Sprintf("%.3f", worker/model)})
		o.say("  round %d: worker %.0f tokens/s, bare %.0f: %.3f", round+1, worker, model, worker/model)
	}
	padding, err := mean(reg, "chunktide_padding_ratio", "")
	if err != nil {
		return r, err
	}
	m := median(ratios)
	r.Rows = append(r.Rows, []string{"median", "", "", fmt.Sprintf("%.3f", m)})
	r.Bar = fmt.Sprintf("≥ 0.97, and padding ≤ 5 %% (it is %.1f %%)", 100*padding)
	r.Met = m >= .97 && padding <= .05
	r.Note = fmt.Sprintf("%d distinct texts of the demo's corpus, %d tokens, %s; the broker, Redis and the index share the machine with the worker.",
		n, packed.Tokens, encoder.Recipe().ModelVersion())
	return r, nil
}

// since is how long ago t was, in seconds.
func since(t time.Time) float64 { return time.Since(t).Seconds() }
