// Command story runs the life of an index from beginning to end, with the
// commands that a person would type, and checks each step: 5,000 chunks are
// indexed with one recipe, edits flow all the time, and meanwhile the index
// moves to a second recipe (killed once on the way), is verified, promoted
// while it is searched, rolled back, and replayed from the first record. It
// ends with 1 if anything was lost, stale or mixed, or a search failed.
//
// Kafka, Redis and Qdrant are the embedded ones, in this process; the worker,
// the encoder service and every command are processes of the chunktide binary.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"chunktide/devstack/realservers"
)

func main() { os.Exit(code()) }

func code() int {
	chunks := flag.Int("chunks", 5000, "how many chunks to index")
	bin := flag.String("chunktide", "", "the chunktide binary (default: build it)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "chunktide-story-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = run(ctx, dir, *bin, *chunks)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, dir, bin string, chunks int) (err error) {
	if bin == "" {
		bin = dir + "/chunktide"
		if err := realservers.Build(ctx, bin, "./cmd/chunktide", ""); err != nil {
			return err
		}
	}
	s, err := newStory(ctx, dir, bin, chunks)
	if err != nil {
		return err
	}
	defer s.close()
	for _, chapter := range []func(context.Context) error{
		s.index, s.edit, s.migrate, s.promote, s.rollBack, s.replay, s.ending,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}
