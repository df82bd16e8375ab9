// Command chunktide keeps a Qdrant vector index level with a corpus that never
// stops changing. `chunktide help` lists what it does; the README shows it.
//
// Results go to standard output, everything else to standard error. It exits
// with 0 when done, 1 when it failed, and 2 when it was called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"chunktide/cache"
	"chunktide/embedder"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(runProcess(nil)) }

// runProcess is main with a seam: wrap may put something around a worker's
// encoder: tests have it hang, or kill.
func runProcess(wrap func(embedder.Encoder) embedder.Encoder) int {
	// The first signal asks for a graceful stop; once it came the default is
	// restored, so that a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	// The cache says by itself what its client's library would print, once.
	cache.LogClient(slog.New(slog.DiscardHandler))
	return run(ctx, os.Args[1:], &app{io: stdio{os.Stdin, os.Stdout, os.Stderr}, environ: os.Environ(), wrap: wrap})
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake of the caller's.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is main without the process: tests call it too.
func run(ctx context.Context, args []string, a *app) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(a.io.err, "chunktide:", err)
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}
