package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// prepareTimeout bounds the checks at the start where the caller does not.
const prepareTimeout = 30 * time.Second

// prepare checks what can be checked before the group is joined, so that a
// mistake is an error at the start and not a worker that waits in silence.
func (s *Source) prepare(ctx context.Context, opts []kgo.Opt) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	client, err := kgo.NewClient(append(slices.Clone(opts), kgo.WithLogger(clientLog{s.logger}))...)
	if err != nil {
		return fmt.Errorf("set up the Kafka client: %w", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("reach Kafka at %v: check brokers, sasl and tls: %w", s.cfg.Brokers, err)
	}
	if s.cfg.CreateTopics.Enabled {
		created, err := EnsureTopics(ctx, client, s.cfg)
		if err != nil {
			return err
		}
		for _, topic := range created {
			s.logger.Info("created topic", "topic", topic)
		}
	}
	if err := CheckTopics(ctx, client, s.cfg); err != nil {
		return err
	}
	if s.cfg.StopAtEnd {
		s.finite, err = newFinite(ctx, kadm.NewClient(client), s.cfg)
	}
	return err
}

// CheckTopics reports every topic of cfg, the dead letters included, that
// does not exist or may not be seen.
func CheckTopics(ctx context.Context, client *kgo.Client, cfg Config) error {
	// A topic that was just created may not be known to every broker yet.
	for {
		err := checkTopics(ctx, client, cfg)
		if err == nil || !cfg.CreateTopics.Enabled || !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func checkTopics(ctx context.Context, client *kgo.Client, cfg Config) error {
	names := append(slices.Clone(cfg.Topics), cfg.DeadLetters())
	details, err := kadm.NewClient(client).ListTopics(ctx, names...)
	if err != nil {
		return fmt.Errorf("look up the topics: %w", err)
	}
	var errs []error
	for _, name := range names {
		d, listed := details[name]
		switch {
		case !listed || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			errs = append(errs, fmt.Errorf("topic %s: create it, or set create_topics.enabled: %w", name, kerr.UnknownTopicOrPartition))
		case errors.Is(d.Err, kerr.TopicAuthorizationFailed):
			errs = append(errs, fmt.Errorf("topic %s: grant this client DESCRIBE, and READ (or WRITE for the dead letters): %w", name, d.Err))
		case d.Err != nil:
			errs = append(errs, fmt.Errorf("topic %s: %w", name, d.Err))
		}
	}
	return errors.Join(errs...)
}

// EnsureTopics creates those of cfg's topics that are missing, the dead
// letters included, and returns their names. Topics that exist are left as
// they are. Dead letters are kept for ever: nobody has read them when the
// usual retention ends.
func EnsureTopics(ctx context.Context, client *kgo.Client, cfg Config) (created []string, err error) {
	adm := kadm.NewClient(client)
	create := func(configs map[string]*string, topics ...string) error {
		results, err := adm.CreateTopics(ctx, cfg.CreateTopics.Partitions, cfg.CreateTopics.Replication, configs, topics...)
		if err != nil {
			return fmt.Errorf("create topics %v: %w", topics, err)
		}
		for _, r := range results.Sorted() {
			switch {
			case r.Err == nil:
				created = append(created, r.Topic)
			case !errors.Is(r.Err, kerr.TopicAlreadyExists):
				return fmt.Errorf("create topic %s: %w (%s)", r.Topic, r.Err, r.ErrMessage)
			}
		}
		return nil
	}
	if err := create(nil, cfg.Topics...); err != nil {
		return created, err
	}
	forever := kadm.StringPtr("-1")
	err = create(map[string]*string{"retention.ms": forever, "retention.bytes": forever}, cfg.DeadLetters())
	return created, err
}
