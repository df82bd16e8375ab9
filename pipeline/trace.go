package pipeline

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"chunktide/chunk"
)

// Trace follows events through the stages. The zero value follows none, and
// costs nothing.
type Trace struct {
	Tracer trace.Tracer
	// Roots lets events without a trace begin one, as the tracer's sampler
	// decides. An event with a trace is followed if its producer records it.
	Roots bool
}

// tracks are the events of a batch that are followed.
type tracks struct {
	tracer trace.Tracer
	events []track
	vector map[int]origin
}

// track is one event. Life is a child of the producer's span, from when the
// event was read until it is durable; the stages are children of life.
type track struct {
	event       int
	ctx         context.Context
	life, stage trace.Span
}

// origin is where an event's vector came from.
type origin uint8

const (
	fromNowhere origin = iota
	fromModel
	fromCache
	fromIndex // the state that is stored already
	fromBatch // another text of its batch, or the batch at its side
)

var origins = [...]string{"", "model", "cache", "index", "batch"}

// follow begins the spans of a batch that is about to be embedded. The context
// that it returns is for the embedding: what is asked of others on the way
// bears the trace of the first event that is followed.
func (t Trace) follow(ctx context.Context, w *work, now time.Time) context.Context {
	if t.Tracer == nil {
		return ctx
	}
	var first trace.Span
	for i := range w.batch.Events {
		e := &w.batch.Events[i]
		if !e.Trace.Sampled() && (!t.Roots || e.Trace.Valid()) {
			continue
		}
		k, recording := t.begin(e, i, first, now)
		if !recording {
			continue
		}
		if w.tracks == nil {
			w.tracks = &tracks{tracer: t.Tracer, vector: map[int]origin{}}
			first = k.stage
		}
		w.tracks.events = append(w.tracks.events, k)
	}
	if first == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, first)
}

// begin begins the life of one event, and its stage of being embedded, which
// links to that of the first: it stands for all of the batch at the encoder.
func (t Trace) begin(e *chunk.Event, i int, first trace.Span, now time.Time) (k track, recording bool) {
	read := e.Read
	if read.IsZero() {
		read = now
	}
	parent := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: e.Trace.TraceID, SpanID: e.Trace.SpanID, TraceFlags: trace.TraceFlags(e.Trace.Flags), Remote: true,
	}))
	k.event = i
	k.ctx, k.life = t.Tracer.Start(parent, "chunk "+e.Op.String(), trace.WithTimestamp(read), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", e.Origin.Topic),
			attribute.Int("messaging.destination.partition.id", int(e.Origin.Partition)),
			attribute.Int64("messaging.kafka.offset", e.Origin.Offset),
			attribute.String("chunktide.op", e.Op.String()),
		))
	if !k.life.IsRecording() {
		return k, false
	}
	_, wait := t.Tracer.Start(k.ctx, "wait", trace.WithTimestamp(read))
	wait.End(trace.WithTimestamp(now))
	options := []trace.SpanStartOption{trace.WithTimestamp(now)}
	if first != nil {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: first.SpanContext()}))
	}
	_, k.stage = t.Tracer.Start(k.ctx, "embed", options...)
	return k, true
}

// found notes where the vectors of texts came from.
func (k *tracks) found(texts []text) {
	if k == nil {
		return
	}
	for i := range texts {
		for _, s := range texts[i].states {
			// A batch that is prepared again finds in itself what it had found.
			if k.vector[s.event] == fromNowhere || texts[i].origin != fromBatch {
				k.vector[s.event] = texts[i].origin
			}
		}
	}
}

// next ends a stage of every event, and begins another.
func (k *tracks) next(stage string, ended, begins time.Time) {
	if k == nil {
		return
	}
	for i := range k.events {
		e := &k.events[i]
		e.stage.End(trace.WithTimestamp(ended))
		_, e.stage = k.tracer.Start(e.ctx, stage, trace.WithTimestamp(begins))
	}
}

// settled ends all spans of a batch that is durable since now.
func (k *tracks) settled(w *work, now time.Time) {
	if k == nil {
		return
	}
	for i := range k.events {
		e := &k.events[i]
		e.stage.End(trace.WithTimestamp(now))
		outcome := w.outcomes[e.event]
		e.life.SetAttributes(attribute.String("chunktide.outcome", outcome.String()))
		if from := k.vector[e.event]; from != fromNowhere {
			e.life.SetAttributes(attribute.String("chunktide.vector", origins[from]), attribute.Bool("chunktide.cache_hit", from == fromCache))
		}
		if outcome == rejected {
			e.life.SetStatus(codes.Error, "sent to the dead letters")
		}
		e.life.End(trace.WithTimestamp(now))
	}
}

// failed ends all spans of a batch that did not get to its end. Its records
// will be read again.
func (k *tracks) failed() {
	if k == nil {
		return
	}
	for i := range k.events {
		e := &k.events[i]
		// The error may quote what a server said, and is in the log.
		e.stage.SetStatus(codes.Error, "failed; the worker's log says why")
		e.stage.End()
		e.life.SetStatus(codes.Error, "not settled: its record is read again")
		e.life.End()
	}
}
