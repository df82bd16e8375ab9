package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/devstack"
	"chunktide/embedder"
	"chunktide/pipeline"
)

func (a *app) demoCommand() *cobra.Command {
	var chunks int
	var textbook bool
	var keep keeping
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole pipeline on this machine: real text, a real model, embedded servers",
		Long: `Demo starts Kafka, Redis and Qdrant inside this process, publishes the documentation of
the Go standard library as change events, and runs the worker on it. Then it edits and
deletes chunks, asks questions before and after, replays the topic, and checks that the
index equals the corpus. It exits with 1 if anything is lost, stale or doubled.

With --keep it goes on after that: chunks are edited, now and then one is malformed, and the
console shows it, with a search box, until you press Ctrl-C.`,
		Example: `  chunktide demo
  chunktide demo --keep
  chunktide demo --chunks 200 -o json
  chunktide demo --textbook`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if textbook && keep.on {
				return usagef("--textbook with --keep: the example ends with its ten lines; leave out one of the two")
			}
			if textbook {
				return a.textbookDemo(cmd.Context())
			}
			if chunks < 2*demoChanges {
				return usagef("--chunks %d: want at least %d, since %d are edited and %d deleted", chunks, 2*demoChanges, demoChanges, demoChanges)
			}
			return a.docsDemo(cmd.Context(), chunks, keep)
		},
	}
	cmd.Flags().IntVar(&chunks, "chunks", 2000, "how many chunks to load")
	cmd.Flags().BoolVar(&textbook, "textbook", false, "the 480-chunk example with the bow encoder instead")
	cmd.Flags().BoolVar(&keep.on, "keep", false, "go on afterwards, with the console, until Ctrl-C")
	cmd.Flags().BoolVar(&keep.noOpen, "no-open", false, "with --keep: do not open a browser")
	return cmd
}

// demo is a running stack with a worker on it.
type demo struct {
	app     *app
	cfg     configs.Config
	logger  *slog.Logger
	stack   *devstack.Stack
	encoder embedder.Encoder
	corpus  *corpus

	worker *worker.Worker
	tally  *tally
	ended  chan struct{} // closed when the worker's Run returned
	failed error         // what it returned
	stop   context.CancelFunc
}

const (
	demoTopic      = "chunks"
	demoGroup      = "chunktide"
	demoIndex      = "demo"
	demoSource     = "go"
	demoPartitions = 6
)

// newDemo starts the embedded servers and the worker. adjust changes the
// settings before that.
func (a *app) newDemo(ctx context.Context, adjust func(*configs.Config)) (d *demo, err error) {
	cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	d = &demo{app: a, corpus: newCorpus()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close(ctx))
		}
	}()
	if d.stack, err = devstack.Start(ctx, devstack.Options{Topics: map[string]int32{demoTopic: demoPartitions}}); err != nil {
		return d, fmt.Errorf("start the embedded servers: %w", err)
	}
	cfg.Kafka.Brokers, cfg.Kafka.Topics, cfg.Kafka.Group = d.stack.KafkaBrokers, []string{demoTopic}, demoGroup
	cfg.Kafka.CreateTopics.Enabled, cfg.Kafka.CreateTopics.Replication = true, 1
	cfg.Cache.URL = chunk.Secret(d.stack.RedisURL)
	cfg.Qdrant.Address, cfg.Qdrant.Index = d.stack.QdrantAddr, demoIndex
	adjust(&cfg)
	if err := cfg.Validate(configs.Worker()...); err != nil {
		return d, usageError{fmt.Errorf("the settings do not work:\n%s", configs.Problems(err))}
	}
	// The demo tells its own story; warnings still show.
	cfg.Log.Level = max(cfg.Log.Level, slog.LevelWarn)
	d.cfg, d.logger = cfg, a.logger(cfg.Log)
	if d.encoder, err = embedder.New(ctx, cfg.Embedder, d.logger, nil); err != nil {
		return d, err
	}
	return d, d.start(ctx)
}

// start runs a worker, with a tally of its own.
func (d *demo) start(ctx context.Context) error {
	d.tally = newTally()
	return d.startWith(ctx, d.tally.observe, nil)
}

func (d *demo) startWith(ctx context.Context, observe func(pipeline.Report), reg prometheus.Registerer) error {
	w, err := worker.New(ctx, d.cfg, d.encoder, observe, d.logger, reg)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	d.worker, d.stop, d.ended, d.failed = w, stop, make(chan struct{}), nil
	go func() {
		d.failed = w.Line.Run(running)
		close(d.ended)
	}()
	return nil
}

// finish stops the worker as SIGTERM would, and closes it.
func (d *demo) finish(ctx context.Context) error {
	if d.worker == nil {
		return nil
	}
	d.stop()
	<-d.ended
	err := errors.Join(d.failed, d.worker.Close(ctx))
	d.worker = nil
	return err
}

func (d *demo) close(ctx context.Context) error {
	err := d.finish(ctx)
	if d.encoder != nil {
		err = errors.Join(err, d.encoder.Close())
	}
	if d.stack != nil {
		err = errors.Join(err, d.stack.Close())
	}
	return err
}

// say tells the story: on standard output, unless that is kept for JSON.
func (d *demo) say(format string, args ...any) {
	out := d.app.io.out
	if d.app.json() {
		out = d.app.io.err
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// publish sends changes to the topic, each as a line of JSON, and waits until
// they are there.
func (d *demo) publish(ctx context.Context, changes ...change) error {
	p, err := newPublisher(d.cfg, demoTopic)
	if err != nil {
		return err
	}
	defer p.close()
	for _, c := range changes {
		value, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := p.send(ctx, value); err != nil {
			return err
		}
		d.corpus.note(c)
	}
	return p.flush(ctx)
}

// settled waits until the worker has settled n events.
func (d *demo) settled(ctx context.Context, n int, tick func(counts)) error {
	err := d.tally.wait(ctx, n, d.ended, tick)
	select {
	case <-d.ended:
		return errors.Join(err, d.failed)
	default:
		return err
	}
}

// replay forgets the group's offsets, as an SRE would, and runs a worker from
// the first record to the last. It returns how many texts that worker sent
// through the model.
func (d *demo) replay(ctx context.Context) (modelCalls, events int, err error) {
	if err := d.finish(ctx); err != nil {
		return 0, 0, err
	}
	p, err := newPublisher(d.cfg, demoTopic)
	if err != nil {
		return 0, 0, err
	}
	defer p.close()
	if _, err := kadm.NewClient(p.client).DeleteGroup(ctx, demoGroup); err != nil {
		return 0, 0, fmt.Errorf("reset the group's offsets: %w", err)
	}
	d.cfg.Kafka.StopAtEnd = true
	if err := d.start(ctx); err != nil {
		return 0, 0, err
	}
	select {
	case <-d.ended:
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	c := d.tally.now()
	return c.encoded, c.events, d.failed
}

// indent is how an answer stands below its question.
func indent(text string) string { return "      " + strings.ReplaceAll(text, "\n", "\n      ") }

// seconds rounds for people.
func seconds(d time.Duration) string { return d.Round(time.Millisecond).String() }
