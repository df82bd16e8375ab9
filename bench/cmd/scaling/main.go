// Command scaling writes the tables of docs/SCALING.md.
//
//	scaling -measure   measures on this machine and writes docs/scaling.json first
//	scaling            works them out anew from docs/scaling.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"chunktide/bench"
	"chunktide/bench/scaling"
)

func main() { os.Exit(code()) }

func code() int {
	measure := flag.Bool("measure", false, "measure on this machine (two minutes) and write scaling.json")
	quick := flag.Bool("quick", false, "with -measure: a fifth of the size, to see that it works")
	docs := flag.String("docs", "docs", "the folder of SCALING.md and scaling.json")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *measure, *quick, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "scaling:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, measure, quick bool, docs string) error {
	if measure {
		if err := measured(ctx, quick, filepath.Join(docs, "scaling.json")); err != nil {
			return err
		}
	}
	return scaling.Write(docs)
}

func measured(ctx context.Context, quick bool, file string) (err error) {
	s, err := bench.Open(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	sizes, err := bench.Measure(ctx, s, bench.Options{Quick: quick, Log: os.Stderr})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(sizes, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // a page for everyone
}
