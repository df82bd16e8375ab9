package worker

import (
	"context"
	"time"

	"chunktide/backfill"
	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/pipeline"
)

var _ pipeline.Source = (*backfill.Source)(nil)

// ForThroughput has the batches of a backfill, and the buffer for as many as
// are in memory at once.
func ForThroughput(cfg configs.Config) configs.Config {
	b := cfg.Backfill.Batch
	cfg.Kafka.Batch = consumer.Batch{Tokens: b.Tokens, Events: b.Events, Bytes: b.Bytes, Linger: topicLinger, IdleLinger: topicLinger}
	// Those of the pipeline, and the one being filled.
	cfg.Kafka.BufferBytes = max(cfg.Kafka.BufferBytes, (chunk.MaxInFlight+1)*b.Bytes)
	return cfg
}

// FromTopic are the settings of a worker that reads the topics once, from the
// earliest record to what is there now, as a member of a group of its own.
func FromTopic(cfg configs.Config, group string) configs.Config {
	cfg.Kafka.Group, cfg.Kafka.InstanceID = group, ""
	cfg.Kafka.Start, cfg.Kafka.StopAtEnd = "earliest", true
	return ForThroughput(cfg)
}

// topicLinger is long enough for a fetch, so that batches are full.
const topicLinger = time.Second

// Throttled is encoder with a bound on the tokens that it is given. Without a
// bound it is encoder itself: counting tokens costs a text's tokenization.
func Throttled(encoder embedder.Encoder, throttle *backfill.Throttle) embedder.Encoder {
	if !throttle.Bounded() {
		return encoder
	}
	return throttled{encoder, throttle}
}

type throttled struct {
	embedder.Encoder
	throttle *backfill.Throttle
}

// remote is what an encoder behind a network has beside.
type remote interface {
	Activity() uint64
	Healthy() (ok bool, since time.Time, err error)
}

func (t throttled) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	tokens := 0
	for _, text := range texts {
		tokens += t.Tokens(text)
	}
	if err := t.throttle.Wait(ctx, tokens); err != nil {
		return nil, err
	}
	return t.Encoder.Encode(ctx, texts)
}

// Activity counts a wait for the throttle as a sign of life.
func (t throttled) Activity() uint64 {
	n := t.throttle.Activity()
	if r, ok := t.Encoder.(remote); ok {
		n += r.Activity()
	}
	return n
}

func (t throttled) Healthy() (ok bool, since time.Time, err error) {
	if r, ok := t.Encoder.(remote); ok {
		return r.Healthy()
	}
	return true, time.Time{}, nil
}
