package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/bench/ceiling"
	"chunktide/configs"
	"chunktide/embedder"
)

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
	reg := prometheus.NewRegistry()
	topic, cfg, encoder, err := s.filled(ctx, "ceiling", n, reg)
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

	m, err := r.compare(o, "tokens/s", func() (worker, model float64, err error) {
		if cfg, err = s.config(topic); err != nil {
			return 0, 0, err
		}
		if worker, err = endToEnd(ctx, cfg, encoder, n, settled.textTokens); err != nil {
			return 0, 0, err
		}
		took, err := bare.Run(packed)
		return worker, float64(packed.Tokens) / took.Seconds(), err
	})
	if err != nil {
		return r, err
	}
	padding, err := mean(reg, "chunktide_padding_ratio", "")
	if err != nil {
		return r, err
	}
	r.Bar = fmt.Sprintf("≥ 0.97, and padding ≤ 5 %% (it is %.1f %%)", 100*padding)
	r.Met = m >= .97 && padding <= .05
	r.Note = fmt.Sprintf("%d distinct texts of the demo's corpus, %d tokens, %s; the broker, Redis and the index share the machine with the worker.",
		n, packed.Tokens, encoder.Recipe().ModelVersion())
	return r, nil
}
