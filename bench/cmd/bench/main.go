// Command bench runs the measurements of package bench and prints them as
// text, Markdown or JSON. It exits with 1 if a bar was missed.
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
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"chunktide/bench"
)

func main() { os.Exit(code()) }

func code() int {
	only := flag.String("only", "", "letters of the measurements to run, such as ad; empty: all")
	quick := flag.Bool("quick", false, "a fifth of the size, to see that it works")
	out := flag.String("json", "", "also write the results to this file")
	plots := flag.String("plots", "", "also draw the results that are curves, as bench-LETTER.svg in this folder")
	profile := flag.String("cpuprofile", "", "write a profile of this process, which is the worker in a, c, d and f, to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: -cpuprofile:", err)
			return 1
		}
		defer pprof.StopCPUProfile()
	}
	if err := run(ctx, *only, *out, *plots, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// document is the file that -json writes.
type document struct {
	Began   time.Time      `json:"began"`
	Go      string         `json:"go"`
	Cores   int            `json:"cores"`
	Results []bench.Result `json:"results"`
}

var errMissed = errors.New("a bar was missed")

func run(ctx context.Context, only, out, plots string, quick bool) (err error) {
	options := bench.Options{Quick: quick, Log: os.Stderr}
	doc := document{Began: time.Now().UTC(), Go: runtime.Version(), Cores: runtime.GOMAXPROCS(0)}
	missed := false
	for _, m := range bench.All() {
		if only != "" && !strings.Contains(only, m.Letter) {
			continue
		}
		r, err := one(ctx, m, options)
		if err != nil {
			return fmt.Errorf("(%s) %s: %w", m.Letter, m.Subject, err)
		}
		doc.Results = append(doc.Results, r)
		missed = missed || !r.Met
		fmt.Println(r.Markdown())
		if plots != "" && r.Plot != nil {
			if err := draw(r, filepath.Join(plots, "bench-"+m.Letter+".svg")); err != nil {
				return err
			}
		}
	}
	if out != "" {
		data, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, append(data, '\n'), 0o600); err != nil {
			return err
		}
	}
	if missed {
		return errMissed
	}
	return nil
}

func draw(r bench.Result, path string) error {
	picture, err := r.SVG()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, picture, 0o600)
}

// one runs a measurement on servers of its own, so that none pays for what
// those before it have left there.
func one(ctx context.Context, m bench.Measurement, o bench.Options) (r bench.Result, err error) {
	fmt.Fprintf(o.Log, "(%s) %s\n", m.Letter, m.Subject)
	stage, err := bench.Open(ctx, os.TempDir())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	r, err = m.Run(ctx, stage, o)
	r.Name = fmt.Sprintf("(%s) %s", m.Letter, m.Subject)
	return r, err
}
