package pipeline

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"chunktide/chunk"
)

const producer = "00-0af7651916cd43dd8448eb211c80319%d-b7ad6b7169203331-%02d"

// traced gives an event a trace of its own number.
func traced(t *testing.T, e chunk.Event, number, flags int) chunk.Event {
	t.Helper()
	trace, ok := chunk.ParseTrace(fmt.Sprintf(producer, number, flags))
	if !ok {
		t.Fatal("no trace")
	}
	e.Trace, e.Read = trace, time.Now().Add(-time.Second)
	return e
}

// spans runs a line that is traced and returns the spans of each trace by
// name.
func spans(t *testing.T, l *line, ratio float64) map[string]map[string]tracetest.SpanStub {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))))
	parts := l.parts()
	parts.Trace = Trace{Tracer: provider.Tracer("test"), Roots: ratio > 0}
	_ = New(l.cfg, parts).Run(context.Background())
	out := map[string]map[string]tracetest.SpanStub{}
	for _, s := range exporter.GetSpans() {
		id := s.SpanContext.TraceID().String()
		if out[id] == nil {
			out[id] = map[string]tracetest.SpanStub{}
		}
		if _, twice := out[id][s.Name]; twice {
			t.Errorf("trace %s has two spans %q", id, s.Name)
		}
		if s.EndTime.Before(s.StartTime) {
			t.Errorf("span %q ends before it begins", s.Name)
		}
		out[id][s.Name] = s
	}
	return out
}

func attributes(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestEventsAreFollowedFromReadToDurable(t *testing.T) {
	var l log
	events := []chunk.Event{
		traced(t, l.put("a", "secret one", 1), 1, 1), traced(t, l.put("b", "secret two", 1), 2, 1),
		traced(t, l.put("c", "secret three", 1), 3, 0), l.put("d", "secret four", 1),
	}
	got := spans(t, newLine(events), 0)
	if len(got) != 2 {
		t.Fatalf("%d traces, want those of the two producers that record theirs", len(got))
	}
	var first trace.SpanContext
	for number, name := range map[int]string{1: "a", 2: "b"} {
		parent := events[number-1].Trace
		of := got[fmt.Sprintf("%x", parent.TraceID)]
		life := of["chunk upsert"]
		if len(of) != 4 || life.Parent.SpanID() != trace.SpanID(parent.SpanID) || !life.Parent.IsRemote() {
			t.Errorf("%s: %d spans, the parent %s; want 4 and the producer's", name, len(of), life.Parent.SpanID())
		}
		if !life.StartTime.Equal(events[number-1].Read) {
			t.Errorf("%s: its life begins at %s, and it was read at %s", name, life.StartTime, events[number-1].Read)
		}
		for _, stage := range []string{"wait", "embed", "apply"} {
			if s := of[stage]; s.Parent.SpanID() != life.SpanContext.SpanID() || s.StartTime.Before(life.StartTime) || s.EndTime.After(life.EndTime) {
				t.Errorf("%s: %s from %s to %s is no part of the life from %s to %s", name, stage, s.StartTime, s.EndTime, life.StartTime, life.EndTime)
			}
		}
		want := map[string]string{
			"messaging.system": "kafka", "messaging.operation.type": "process", "messaging.destination.name": "t",
			"messaging.destination.partition.id": "0", "messaging.kafka.offset": fmt.Sprint(number),
			"chunktide.op": "upsert", "chunktide.outcome": "applied", "chunktide.vector": "model", "chunktide.cache_hit": "false",
		}
		if a := attributes(life); !maps.Equal(a, want) {
			t.Errorf("%s: %v, want %v", name, a, want)
		}
		if number == 1 {
			first = of["embed"].SpanContext
		}
	}
	// The second was encoded in the request of the first, and says so.
	second := got[fmt.Sprintf("%x", events[1].Trace.TraceID)]["embed"]
	if len(second.Links) != 1 || second.Links[0].SpanContext.SpanID() != got[fmt.Sprintf("%x", events[0].Trace.TraceID)]["embed"].SpanContext.SpanID() || !first.IsValid() {
		t.Errorf("links %v, want one to the first of the batch", second.Links)
	}
	if dump := fmt.Sprintf("%+v", got); strings.Contains(dump, "secret") {
		t.Errorf("a text is in a span: %s", dump)
	}
}

func TestWhatBecameOfAnEventIsToldByItsSpan(t *testing.T) {
	var l log
	line := newLine([]chunk.Event{l.put("a", "known", 1)})
	if err := line.run(); err != nil {
		t.Fatal(err)
	}
	line.encoder.refuse = func(text string) bool { return text == "too long" }
	next := line.with([]chunk.Event{
		traced(t, l.put("b", "known", 1), 1, 1), traced(t, l.put("c", "too long", 1), 2, 1), traced(t, l.put("d", "old", 1), 3, 1),
		traced(t, l.put("d", "new", 2), 4, 1), traced(t, l.del("e", 1), 5, 1), traced(t, l.put("f", "new", 1), 6, 1),
	})
	got := spans(t, next, 0)
	for number, want := range map[int]string{
		1: "upsert applied cache true Unset", 2: "upsert rejected   Error", 3: "upsert superseded   Unset",
		4: "upsert applied model false Unset", 5: "delete applied   Unset", 6: "upsert applied model false Unset",
	} {
		for name, s := range got[fmt.Sprintf("0af7651916cd43dd8448eb211c80319%d", number)] {
			if !strings.HasPrefix(name, "chunk ") {
				continue
			}
			a := attributes(s)
			if have := strings.Join([]string{a["chunktide.op"], a["chunktide.outcome"], a["chunktide.vector"], a["chunktide.cache_hit"], s.Status.Code.String()}, " "); have != want {
				t.Errorf("event %d: %q, want %q", number, have, want)
			}
		}
	}
	if len(got) != 6 {
		t.Errorf("%d traces, want 6", len(got))
	}
}

// A batch that fails ends its spans.
func TestSpansOfABatchThatFails(t *testing.T) {
	for _, stage := range []string{"embed", "apply"} {
		var l log
		line := newLine([]chunk.Event{traced(t, l.put("a", "x", 1), 1, 1)})
		if stage == "embed" {
			line.encoder.err = errBroken
		} else {
			line.sink.err = errBroken
		}
		of := spans(t, line, 0)["0af7651916cd43dd8448eb211c803191"]
		if of["chunk upsert"].Status.Code.String() != "Error" || of[stage].Status.Code.String() != "Error" {
			t.Errorf("%s: %+v", stage, of)
		}
	}
}

// With a ratio, events without a trace begin one; a producer that does not
// record its trace is taken at its word.
func TestTracesThatBeginHere(t *testing.T) {
	var l log
	got := spans(t, newLine([]chunk.Event{l.put("a", "x", 1), traced(t, l.put("b", "y", 1), 1, 0)}), 1)
	if len(got) != 1 {
		t.Fatalf("%d traces, want one", len(got))
	}
	for _, of := range got {
		if of["chunk upsert"].Parent.IsValid() || attributes(of["chunk upsert"])["messaging.kafka.offset"] != "1" {
			t.Errorf("%+v", of["chunk upsert"])
		}
	}
}

// What is asked of others on the way bears the trace.
func TestEncoderIsAskedWithinTheTrace(t *testing.T) {
	for _, c := range []struct {
		flags int
		want  bool
	}{{1, true}, {0, false}} {
		var l log
		line := newLine([]chunk.Event{l.put("x", "untraced", 1), traced(t, l.put("a", "x", 1), 7, c.flags)})
		asked := &askedEncoder{Encoder: line.encoder}
		provider := sdktrace.NewTracerProvider()
		parts := line.parts()
		parts.Encoder, parts.Trace = asked, Trace{Tracer: provider.Tracer("test")}
		if err := New(line.cfg, parts).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := asked.within.TraceID().String() == "0af7651916cd43dd8448eb211c803197" && asked.within.IsSampled(); got != c.want {
			t.Errorf("flags %d: asked within %+v", c.flags, asked.within)
		}
	}
}

type askedEncoder struct {
	Encoder
	within trace.SpanContext
}

func (e *askedEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	e.within = trace.SpanContextFromContext(ctx)
	return e.Encoder.Encode(ctx, texts)
}

// Without a tracer nothing is paid, though events come with traces.
func TestTracingThatIsOffCostsNothing(t *testing.T) {
	var l log
	w := newWork(chunk.Batch{Events: []chunk.Event{traced(t, l.put("a", "x", 1), 1, 1), l.put("b", "y", 1)}})
	texts := []text{{value: "x", states: []candidate{{event: 0}}}}
	cycle := func(follow Trace) float64 {
		return testing.AllocsPerRun(100, func() {
			now := time.Now()
			w.tracks = nil
			if ctx := follow.follow(context.Background(), w, now); follow.Tracer == nil && ctx != context.Background() {
				t.Fatal("another context")
			}
			w.tracks.found(texts)
			w.tracks.next("apply", now, now)
			w.tracks.settled(w, now)
			w.tracks.failed()
		})
	}
	if n := cycle(Trace{}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := cycle(Trace{Tracer: sdktrace.NewTracerProvider().Tracer("test")}); n == 0 {
		t.Error("control: with a tracer nothing is allocated, so that nothing is measured here")
	}
}
