package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"chunktide/chunk"
)

// brokenSource fails as a Kafka client does whose connection was closed: with
// an error that wraps io.EOF.
type brokenSource struct{ err error }

func (s brokenSource) Next(context.Context) (chunk.Batch, error) { return chunk.Batch{}, s.err }

// Only the source itself says that it is exhausted. A worker that takes a
// broken connection for the end stops with exit code 0, and a supervisor that
// restarts what failed leaves it stopped.
func TestABrokenConnectionIsNotTheEndOfTheSource(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		fail bool
	}{
		"exhausted": {io.EOF, false},
		"broken":    {fmt.Errorf("write 3 dead letters: broker closed the connection: %w", io.EOF), true},
	} {
		l := newLine()
		err := New(l.cfg, Parts{
			Source: brokenSource{c.err}, Encoder: l.encoder, Cache: l.cache, Sink: l.sink, Logger: slog.New(slog.DiscardHandler),
		}).Run(t.Context())
		if (err != nil) != c.fail {
			t.Errorf("%s: Run returned %v", name, err)
		}
	}
}
