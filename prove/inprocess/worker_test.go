//go:build synctests

package inprocess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/consumer"
	"chunktide/devstack/cable"
	"chunktide/pipeline"
	"chunktide/sink"
)

func secret(s string) chunk.Secret { return chunk.Secret(s) }

// step is a place where a worker may die, or stand still.
type step string

const (
	afterNext    step = "after a batch was taken"
	beforeEncode step = "before the model"
	afterEncode  step = "after the model"
	beforeApply  step = "before the write"
	whileApply   step = "while the write is on its way"
	afterApply   step = "after the write, before the acknowledgement"
	afterAck     step = "after the acknowledgement, before the commit"
)

func steps() []step {
	return []step{afterNext, beforeEncode, afterEncode, beforeApply, whileApply, afterApply, afterAck}
}

// fate is what befalls a worker in one life. The zero fate is nothing.
type fate struct {
	// dies at the nth passing of the step, at once and without a word.
	dies step
	nth  int
	// freezes before the nth write for so long: its heartbeats stop, and the
	// write goes out afterwards.
	freezes   time.Duration
	freezeNth int
}

var errKilled = errors.New("killed")

// worker is one life of one worker.
type worker struct {
	w                    *world
	fate                 fate
	kafka, redis, qdrant *cable.Cable
	ctx                  context.Context
	cancel               context.CancelFunc
	dead                 atomic.Bool

	mu     sync.Mutex
	passed map[step]int

	source *consumer.Source
	cache  *cache.Cache
	index  *sink.Sink
	line   *pipeline.Pipeline
}

// live is one life: it returns nil when the worker was killed by plan or
// stopped, and the reason when it ended by itself.
func (w *world) live(name string, life int, g group) error {
	p := &worker{w: w, passed: map[step]int{}}
	for _, c := range []**cable.Cable{&p.redis, &p.qdrant} {
		*c = cable.New(w.stack.Dial)
	}
	// While a client waits for new metadata it asks a partition's former leader
	// again, without a pause.
	p.kafka = cable.Long(w.stack.Dial, 200*time.Microsecond)
	if w.plan != nil {
		p.fate = w.plan(name, life)
	}
	p.ctx, p.cancel = context.WithCancel(w.retry)
	defer p.cancel()
	w.mu.Lock()
	w.alive = append(w.alive, p)
	w.mu.Unlock()
	defer p.forget()
	err := p.connect(name, g)
	if err == nil {
		err = p.line.Run(p.ctx)
	}
	err = errors.Join(err, p.close())
	switch {
	case p.dead.Load():
		w.tally.count("worker killed " + string(p.fate.dies))
		return nil
	case w.retry.Err() != nil:
		return nil
	default:
		w.tally.count("worker gave up")
		return err
	}
}

func (p *worker) forget() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.alive = slices.DeleteFunc(p.w.alive, func(other *worker) bool { return other == p })
}

// connect wires a worker as cmd/chunktide does.
func (p *worker) connect(name string, g group) (err error) {
	w := p.w
	recipe := w.encoder.Recipe()
	pin := sink.Model{
		Name: recipe.Name, Version: recipe.ModelVersion(), Digest: fmt.Sprintf("%x", recipe.Digest()), Dim: recipe.Dim,
		Pooling: recipe.Pooling, Normalize: recipe.Normalize, Prefix: recipe.Prefix,
	}
	sinkConfig, cacheConfig, kafka := w.sink, w.cache, w.kafka
	sinkConfig.Dial, cacheConfig.Dial, kafka.Dial = p.qdrant.Dial, p.redis.Dial, p.kafka.Dial
	kafka.ClientID, kafka.Group, kafka.Topics = name, g.name, []string{g.topic}
	logger := quiet().With("worker", name)
	if p.index, err = sink.Open(p.ctx, sinkConfig, pin, logger, nil); err != nil {
		return err
	}
	if p.cache, err = cache.New(cacheConfig, recipe.Digest(), recipe.Dim, logger, nil); err != nil {
		return err
	}
	decoder, err := chunk.NewDecoder(chunk.DefaultDecoderConfig())
	if err != nil {
		return err
	}
	if p.source, err = consumer.New(p.ctx, kafka, decoder.Decode, w.encoder.Tokens, logger, nil); err != nil {
		return err
	}
	parts := pipeline.Parts{
		Source: p.source, Encoder: w.encoder, Cache: p.cache, Sink: p.index, Activity: p.index.Activity, Logger: logger,
	}
	if w.wrap != nil {
		w.wrap(&parts)
	}
	parts.Source, parts.Encoder, parts.Sink = mortalSource{parts.Source, p}, mortalEncoder{parts.Encoder, p}, mortalSink{parts.Sink, p}
	parts.Observe = func(pipeline.Report) { _ = p.pass(afterAck) }
	p.line = pipeline.New(pipeline.DefaultConfig(), parts)
	return nil
}

// close is what cmd/chunktide does at the end; a dead worker only lets go of
// its memory.
func (p *worker) close() error {
	limit := 10 * time.Second
	if p.dead.Load() {
		limit = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), limit)
	defer cancel()
	var errs []error
	if p.source != nil {
		errs = append(errs, p.source.Close(ctx))
	}
	if p.cache != nil {
		errs = append(errs, p.cache.Close())
	}
	if p.index != nil {
		errs = append(errs, p.index.Close())
	}
	return errors.Join(errs...)
}

// kill ends the worker as SIGKILL does: nothing more leaves it.
func (p *worker) kill() {
	p.dead.Store(true)
	for _, c := range []*cable.Cable{p.kafka, p.redis, p.qdrant} {
		c.Cut()
	}
	p.cancel()
}

// pass notes that the worker got to a step; it returns errKilled if that was
// its last.
func (p *worker) pass(s step) error {
	if p.dead.Load() {
		return errKilled
	}
	p.mu.Lock()
	p.passed[s]++
	n := p.passed[s]
	p.mu.Unlock()
	if s == beforeApply && p.fate.freezes > 0 && n == p.fate.freezeNth {
		p.w.tally.count("worker frozen")
		p.kafka.Freeze(p.fate.freezes)
		time.Sleep(p.fate.freezes)
	}
	if p.fate.dies != s || n != p.fate.nth {
		return nil
	}
	if s == whileApply {
		// Half way of the request, or of the answer.
		time.AfterFunc(latency/2+time.Duration(n%2)*latency, p.kill)
		return nil
	}
	p.kill()
	return errKilled
}

type mortalSource struct {
	pipeline.Source
	p *worker
}

func (m mortalSource) Next(ctx context.Context) (chunk.Batch, error) {
	b, err := m.Source.Next(ctx)
	if err == nil {
		err = m.p.pass(afterNext)
	}
	return b, err
}

type mortalEncoder struct {
	pipeline.Encoder
	p *worker
}

func (m mortalEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	if err := m.p.pass(beforeEncode); err != nil {
		return nil, err
	}
	out, err := m.Encoder.Encode(ctx, texts)
	if killed := m.p.pass(afterEncode); killed != nil {
		return nil, killed
	}
	return out, err
}

type mortalSink struct {
	pipeline.Sink
	p *worker
}

func (m mortalSink) Apply(ctx context.Context, points []chunk.Point) error {
	if err := errors.Join(m.p.pass(beforeApply), m.p.pass(whileApply)); err != nil {
		return err
	}
	err := m.Sink.Apply(ctx, points)
	if killed := m.p.pass(afterApply); killed != nil {
		return killed
	}
	return err
}
