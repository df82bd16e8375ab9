package pipeline

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"chunktide/chunk"
)

// heldEncoder shows each call that arrives and lets none go before it is told.
type heldEncoder struct {
	*memEncoder
	mu      sync.Mutex
	calls   [][]string
	arrived sync.Once
	first   chan struct{} // closed when the first call is in
	release chan struct{}
}

func (e *heldEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	e.mu.Lock()
	e.calls = append(e.calls, texts)
	e.mu.Unlock()
	e.arrived.Do(func() { close(e.first) })
	<-e.release
	return e.memEncoder.Encode(ctx, texts)
}

// oneByOneSource gives its first batch at once, and the others when that one is
// in the encoder.
type oneByOneSource struct {
	Source
	begun bool
	first chan struct{}
}

func (s *oneByOneSource) Next(ctx context.Context) (chunk.Batch, error) {
	if s.begun {
		<-s.first
	}
	s.begun = true
	return s.Source.Next(ctx)
}

// overlapping runs two batches, of which the first is in the encoder when the
// second comes to it, with a cache that keeps nothing.
func overlapping(t *testing.T, prepare func(*line), batches ...[]chunk.Event) (*line, *heldEncoder) {
	line := newLine(batches...)
	line.cache.off = true
	if prepare != nil {
		prepare(line)
	}
	e := &heldEncoder{memEncoder: line.encoder, first: make(chan struct{}), release: make(chan struct{})}
	parts := line.parts()
	parts.Encoder = e
	parts.Source = &oneByOneSource{Source: parts.Source, first: e.first}
	done := make(chan error)
	go func() { done <- New(line.cfg, parts).Run(t.Context()) }()
	synctest.Wait()
	slices.SortFunc(e.calls, slices.Compare)
	close(e.release)
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	return line, e
}

func encodings(e *memEncoder, text string) (n int) {
	for _, t := range e.texts {
		if t == text {
			n++
		}
	}
	return n
}

func TestTwoBatchesAreInTheEncoderAndNoTextTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		line, e := overlapping(t, nil, []chunk.Event{l.put("a", "same", 1)}, []chunk.Event{l.put("b", "same", 1), l.put("c", "other", 1)})
		if want := [][]string{{"other"}, {"same"}}; !slices.EqualFunc(e.calls, want, slices.Equal) {
			t.Errorf("in the encoder at once: %q, want %q", e.calls, want)
		}
		if n := encodings(line.encoder, "same"); n != 1 {
			t.Errorf("the text that both batches have went %d times through the model", n)
		}
		for _, id := range []string{"a", "b", "c"} {
			if st := line.sink.points[chunk.NewID("s", "d", id)]; st.Embedding.Vector == nil {
				t.Errorf("chunk %s has no vector", id)
			}
		}
	})
}

// The control: with nobody to join, and a cache that keeps nothing, it is paid
// for twice.
func TestControlTheSameTextLaterIsEncodedAgain(t *testing.T) {
	var l log
	line := newLine([]chunk.Event{l.put("a", "same", 1)})
	line.cache.off = true
	if err := line.run(); err != nil {
		t.Fatal(err)
	}
	if err := line.with([]chunk.Event{l.put("b", "same", 1)}).run(); err != nil {
		t.Fatal(err)
	}
	if n := encodings(line.encoder, "same"); n != 2 {
		t.Errorf("encoded %d times: the test above counts nothing", n)
	}
}

// Whoever waited for a text that was then refused asks for himself, and both
// are told.
func TestWhoWaitsForARefusedTextAsksForHimself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		first, second := l.put("a", "bad", 1), l.put("b", "bad", 1)
		line, _ := overlapping(t, func(line *line) {
			line.encoder.refuse = func(text string) bool { return text == "bad" }
		}, []chunk.Event{first, l.put("x", "good", 1)}, []chunk.Event{second, l.put("y", "fine", 1)})
		for _, e := range []chunk.Event{first, second} {
			if line.source.rejected[e.Origin] == nil {
				t.Errorf("chunk %s was not rejected", e.ChunkID)
			}
		}
		if len(line.sink.points) != 2 || line.source.acked != 2 {
			t.Errorf("%d points, %d batches acknowledged", len(line.sink.points), line.source.acked)
		}
	})
}

// A batch that is ready before the one in front of it waits its turn.
func TestBatchesArriveInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		slow, quick := l.put("a", "text", 1), l.del("a", 2)
		line, e := overlapping(t, nil, []chunk.Event{slow}, []chunk.Event{quick})
		if len(e.calls) != 1 {
			t.Errorf("%d calls of the encoder", len(e.calls))
		}
		var order []chunk.Origin
		for _, r := range line.reports {
			order = append(order, r.Events[0].Origin)
		}
		if want := []chunk.Origin{slow.Origin, quick.Origin}; !slices.Equal(order, want) {
			t.Errorf("acknowledged in the order %v, want %v", order, want)
		}
	})
}
