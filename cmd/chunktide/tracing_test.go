package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"chunktide/tracing/otlptest"
)

const tracedBy, tracedIn = "b7ad6b7169203331", "0af7651916cd43dd8448eb211c80319c"

// tree writes each span as its name and that of its parent.
func tree(spans []*v1.Span) (out []string) {
	names := map[string]string{tracedBy: "producer"}
	for _, s := range spans {
		names[fmt.Sprintf("%x", s.GetSpanId())] = s.GetName()
	}
	for _, s := range spans {
		out = append(out, s.GetName()+" < "+names[fmt.Sprintf("%x", s.GetParentSpanId())])
	}
	slices.Sort(out)
	return out
}

// One trace goes from the producer by the topic and the worker to the encoder's
// service, over OTLP; an event whose producer records none has no span.
func TestATraceGoesThroughAllStages(t *testing.T) {
	c := otlptest.Start(t)
	settings := append(stack(t), "kafka.create_topics.partitions=1") // the first event comes first
	traces := slices.Concat(settings, []string{"tracing.endpoint=" + c.GRPC})
	url := served(t, "", traces...)
	worker := slices.Concat(traces, []string{"embedder.encoder=remote", "embedder.remote.url=" + url, "kafka.stop_at_end=true"})
	publish := func(settings []string, id, text string, more ...string) {
		t.Helper()
		line := fmt.Sprintf(`{"op":"upsert","document_id":"d","chunk_id":%q,"text":%q,"version":1}`, id, text)
		if code, _, errs := command(t, line, append(withSettings(settings, "publish"), more...)...); code != exitDone {
			t.Fatalf("publish: exit %d: %s", code, errs)
		}
	}
	parent := "00-" + tracedIn + "-" + tracedBy + "-01"
	other := strings.Replace(parent, "0af7", "1af7", 1)
	publish(traces, "a", "hidden words", "--traceparent", parent)
	publish(settings, "b", "hidden words too", "--traceparent", other) // its tracing is off: the header is passed along
	publish(settings, "c", "more of them")
	if code, _, errs := command(t, "", withSettings(worker, "run")...); code != exitDone {
		t.Fatalf("run: exit %d: %s", code, errs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// The batch's request is in the trace of its first event.
	spans := c.Wait(ctx, tracedIn, 6)
	want := []string{"apply < chunk upsert", "chunk upsert < publish", "embed < chunk upsert", "encode < embed", "publish < producer", "wait < chunk upsert"}
	if got := tree(spans); !slices.Equal(got, want) {
		t.Errorf("the trace has %q, want %q", got, want)
	}
	more := tree(c.Wait(ctx, strings.Replace(tracedIn, "0af7", "1af7", 1), 4))
	if !slices.Contains(more, "chunk upsert < producer") || slices.Contains(more, "publish < producer") {
		t.Errorf("the other trace has %q", more)
	}
	if dump := fmt.Sprint(spans); strings.Contains(dump, "hidden") {
		t.Errorf("a text is in a span: %s", dump)
	}
	if n := c.Traces(); n != 2 {
		t.Errorf("%d traces, want those of the two producers", n)
	}
}

func TestPublishRefusesATraceThatIsNone(t *testing.T) {
	code, _, errs := command(t, "", "publish", "--traceparent", "nonsense", "--set", "kafka.topics=t", "--set", "kafka.group=g")
	if code != exitUsage || !strings.Contains(errs, "--traceparent") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
