package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"chunktide/chunk"
)

// deaf never returns, whatever its context says, until it is freed.
type deaf struct {
	*memSink
	*memEncoder
	freed chan struct{}
}

type deafSink deaf

func (d deafSink) Apply(context.Context, []chunk.Point) error { <-d.freed; return nil }

type deafEncoder deaf

func (d deafEncoder) Encode(_ context.Context, texts []string) ([]chunk.Embedding, error) {
	<-d.freed
	return make([]chunk.Embedding, len(texts)), errors.New("freed")
}

// Whichever stage has a call that never returns, the watchdog ends the run and
// names the stage.
func TestAStallNamesItsStage(t *testing.T) {
	for stage, hang := range map[string]func(d deaf, parts *Parts){
		"the embed stage": func(d deaf, parts *Parts) { parts.Encoder = deafEncoder(d) },
		"the apply stage": func(d deaf, parts *Parts) { parts.Sink = deafSink(d) },
	} {
		t.Run(stage, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				line := newLine([]chunk.Event{l.put("a", "x", 1)}, []chunk.Event{l.put("b", "y", 1)})
				line.source.live = true
				parts := Parts{
					Source: line.source, Encoder: line.encoder, Cache: line.cache, Sink: line.sink,
					Logger: slog.New(slog.DiscardHandler),
				}
				d := deaf{memSink: line.sink, memEncoder: line.encoder, freed: make(chan struct{})}
				hang(d, &parts)
				err := New(line.cfg, parts).Run(t.Context())
				if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "in "+stage) {
					t.Errorf("Run = %v, want a stall in %s", err, stage)
				}
				close(d.freed)
			})
		})
	}
}
