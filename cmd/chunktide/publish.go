package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/tracing"
)

func (a *app) publishCommand() *cobra.Command {
	var topic, traceparent string
	cmd := &cobra.Command{
		Use:   "publish [FILE]",
		Short: "Write change events from a JSONL file, or standard input, to the topic",
		Long: `Publish checks each line as the worker would, and writes it to the topic under a key that
names the chunk, so that all events of a chunk stay on one partition, in order, and a
compacted topic keeps the last of each chunk.

A line that is no event ends it, with the line's number; the lines before it are published.`,
		Example: `  chunktide publish events.jsonl
  echo '{"op":"upsert","document_id":"handbook","chunk_id":"intro","text":"Welcome.","version":1}' | chunktide publish`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			parent, ok := chunk.ParseTrace(traceparent)
			if !ok && traceparent != "" {
				return usagef("--traceparent %q: want a W3C trace context, such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", traceparent)
			}
			cfg, logger, err := a.loadQuiet(configs.Kafka, configs.Events, configs.Tracing)
			if err != nil {
				return err
			}
			if topic == "" {
				topic = cfg.Kafka.Topics[0]
			}
			in, name := a.io.in, "standard input"
			if len(args) == 1 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in, name = file, args[0]
			}
			traces, err := tracing.Start(cmd.Context(), cfg.Tracing, logger)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, traces.Close(cmd.Context())) }()
			p, err := newPublisher(cfg, topic)
			if err != nil {
				return err
			}
			defer p.close()
			p.traces, p.parent = traces, parent
			return a.publish(cmd.Context(), cfg, p, in, name)
		},
	}
	cmd.Flags().StringVar(&topic, "topic", "", "the topic to write to (default: the first of kafka.topics)")
	cmd.Flags().StringVar(&traceparent, "traceparent", "", "the `trace` (W3C) that the events belong to, sent along as a header; "+
		"with tracing.endpoint each event gets a span in it, or a trace of its own")
	return cmd
}

func (a *app) publish(ctx context.Context, cfg configs.Config, p *publisher, in io.Reader, name string) error {
	if cfg.Kafka.CreateTopics.Enabled {
		if _, err := consumer.EnsureTopics(ctx, p.client, cfg.Kafka); err != nil {
			return err
		}
	}
	start, shown := time.Now(), a.progress()
	lines := newLines(in, cfg.Events.Limits.RecordBytes)
	n := 0
	var failed error
	for failed == nil && lines.Scan() {
		if len(lines.Bytes()) == 0 {
			n++
			continue
		}
		if failed = p.send(ctx, append([]byte(nil), lines.Bytes()...)); failed == nil {
			n++
			shown.show("published %s, %.0f/s", numberOf(n, "event"), float64(n)/time.Since(start).Seconds())
		}
	}
	if failed == nil {
		failed = lines.Err()
	}
	// Whatever stopped it, what was read before is published.
	flushed := p.flush(ctx)
	if failed != nil {
		return errors.Join(fmt.Errorf("%s, line %d: %w", name, n+1, failed), flushed)
	}
	if flushed != nil {
		return flushed
	}
	if a.json() {
		return a.printJSON(map[string]any{"topic": p.topic, "events": p.sent, "seconds": time.Since(start).Seconds()})
	}
	shown.done("published %s to %s in %s", numberOf(p.sent, "event"), p.topic, time.Since(start).Round(time.Millisecond))
	return nil
}

// publisher writes events to a topic.
type publisher struct {
	client  *kgo.Client
	decoder *chunk.Decoder
	topic   string
	sent    int
	// Of tracing: where spans go, if anywhere, and the trace of all events, if
	// there is one.
	traces *tracing.Tracing
	parent chunk.Trace

	mu  sync.Mutex
	err error
}

func newPublisher(cfg configs.Config, topic string) (*publisher, error) {
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return nil, err
	}
	options, err := consumer.ClientOptions(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(options, kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(cfg.Kafka.DeadLetterMaxBytes), kgo.RecordDeliveryTimeout(time.Minute))...)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return &publisher{client: client, decoder: decoder, topic: topic}, nil
}

// record checks a native, Debezium or CloudEvents value, and gives it the key
// of its chunk.
func (p *publisher) record(value []byte) (*kgo.Record, error) {
	events, err := p.decoder.Decode(chunk.Record{
		Origin: chunk.Origin{Topic: p.topic}, Timestamp: time.Now(), Value: value,
	})
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, errors.New("is no change of a chunk")
	}
	last := events[len(events)-1]
	key, err := json.Marshal(eventKey{last.Source, last.DocumentID, last.ChunkID})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: p.topic, Key: key, Value: value}, nil
}

// sendNow returns when the topic has the value.
func (p *publisher) sendNow(ctx context.Context, value []byte) error {
	record, err := p.record(value)
	if err != nil {
		return err
	}
	if err := p.client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return fmt.Errorf("write to topic %s: %w", p.topic, err)
	}
	return nil
}

// send checks a value and hands it to the producer, which keeps value until it
// is flushed.
func (p *publisher) send(ctx context.Context, value []byte) error {
	record, err := p.record(value)
	if err != nil {
		return err
	}
	if err := p.failure(); err != nil {
		return err
	}
	p.sent++
	trace, end := p.traces.Publish(p.parent, p.topic)
	if header := trace.String(); header != "" {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: chunk.HeaderTrace, Value: []byte(header)})
	}
	p.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
		end(err)
		if err != nil {
			p.mu.Lock()
			p.err = errors.Join(p.err, err)
			p.mu.Unlock()
		}
	})
	return nil
}

// eventKey names a chunk in a record's key, as a tombstone must.
type eventKey struct {
	Source     string `json:"source"`
	DocumentID string `json:"document_id"`
	ChunkID    string `json:"chunk_id,omitempty"`
}

func (p *publisher) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return fmt.Errorf("write to topic %s: %w", p.topic, p.err)
	}
	return nil
}

// flush waits until all that was sent is on the topic.
func (p *publisher) flush(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("write to topic %s: %w", p.topic, err)
	}
	return p.failure()
}

func (p *publisher) close() { p.client.Close() }
