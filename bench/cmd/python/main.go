// Command python measures the worker against the loop that one would write in
// Python (bench/python/loop.py): the same topic on the same real Kafka, the
// same Redis, the same embedded Qdrant, the same model and ONNX Runtime.
//
// The contenders take turns, each with an empty cache and an empty index:
// Python that polls 256 records at a time (as the worker does) or 64, worker,
// worker with the int8 model, Python, …; one turn is over when
// all texts can be found. The first tenth is not counted, so that loading a
// model and joining a group are not. What is reported is the median of the
// ratios to the first Python within the rounds.
//
//	make bench-python ARGS="-texts 2000 -rounds 5"
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"chunktide/devstack/realservers"
	"chunktide/embedder"
	"chunktide/embedder/tune"
)

type options struct {
	texts, rounds  int
	python, script string
	output         string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-python:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	var o options
	flags := flag.NewFlagSet("bench-python", flag.ContinueOnError)
	flags.IntVar(&o.texts, "texts", 2000, "how many different texts a turn encodes")
	flags.IntVar(&o.rounds, "rounds", 3, "how many turns each contender has")
	flags.StringVar(&o.python, "python", "", "a Python that has bench/python/requirements.txt (make bench-python makes one)")
	flags.StringVar(&o.script, "script", "bench/python/loop.py", "the loop")
	flags.StringVar(&o.output, "o", "text", "text or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.python == "" || o.texts < minTexts || o.rounds < 1 || o.output != "text" && o.output != "json" {
		return fmt.Errorf("-python is needed, -texts of at least %d, -rounds of at least 1, -o text or json", minTexts)
	}
	dir, err := os.MkdirTemp("", "bench-python-")
	if err != nil {
		return err
	}
	r, err := bench(ctx, o, dir, progress)
	if err != nil {
		return fmt.Errorf("%w (the logs lie in %s)", err, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if o.output == "json" {
		return json.NewEncoder(out).Encode(r)
	}
	r.print(out)
	return nil
}

func bench(ctx context.Context, o options, dir string, progress io.Writer) (r report, err error) {
	model, err := embedder.FindModel("")
	if err != nil {
		return r, err
	}
	model, err = filepath.Abs(model)
	if err != nil {
		return r, err
	}
	library, err := embedder.FindRuntime("")
	if err != nil {
		return r, err
	}
	worker, qdrantd := filepath.Join(dir, "chunktide"), filepath.Join(dir, "qdrantd")
	err = errors.Join(
		realservers.Build(ctx, worker, "chunktide/cmd/chunktide", ""),
		realservers.Build(ctx, qdrantd, realservers.QdrantdPackage, ""),
	)
	if err != nil {
		return r, err
	}
	s, err := startServers(ctx, dir, qdrantd)
	defer func() { err = errors.Join(err, s.close()) }()
	if err != nil {
		return r, err
	}
	if r.Texts, err = s.publish(ctx, o.texts); err != nil {
		return r, err
	}
	script, err := filepath.Abs(o.script)
	if err != nil {
		return r, err
	}
	contenders := []contender{
		pythonLoop(o.python, script, model, 256), // as many as the worker, by default
		pythonLoop(o.python, script, model, 64),
		chunktideWorker("worker fp32", worker, model, library),
		chunktideWorker("worker int8", worker, model+"-int8", library),
	}
	for _, c := range contenders {
		r.Contenders = append(r.Contenders, result{Name: c.name})
	}
	for round := range o.rounds {
		for i, c := range contenders {
			t, err := s.turn(ctx, c, fmt.Sprintf("%d-%d", round, i), r.Texts)
			if err != nil {
				return r, fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(progress, "round %d: %-12s %6.1f texts/s, %5.1f ms of processor a text\n", round+1, c.name, t.rate, 1000*t.cpu)
			r.Contenders[i].turns = append(r.Contenders[i].turns, t)
		}
	}
	r.settle()
	return r, nil
}

// report is the outcome. Ratios are against the first contender.
type report struct {
	Texts      int      `json:"texts"`
	Contenders []result `json:"contenders"`
}

type result struct {
	Name string `json:"name"`
	// TextsPerSecond is the median of the turns.
	TextsPerSecond float64 `json:"texts_per_second"`
	// Ratio is the median of texts per second over the first contender's in
	// the same round.
	Ratio float64 `json:"ratio"`
	// ProcessorRatio is the same of texts per second of processor time. It is
	// 0 where the system does not show it.
	ProcessorRatio float64 `json:"processor_ratio"`
	turns          []turn
}

func (r *report) settle() {
	first := r.Contenders[0].turns
	for i := range r.Contenders {
		c := &r.Contenders[i]
		var rates, ratios, cpu []float64
		for j, t := range c.turns {
			rates, ratios = append(rates, t.rate), append(ratios, t.rate/first[j].rate)
			if t.cpu > 0 {
				cpu = append(cpu, first[j].cpu/t.cpu)
			}
		}
		c.TextsPerSecond, c.Ratio = tune.Median(rates), tune.Median(ratios)
		if len(cpu) > 0 {
			c.ProcessorRatio = tune.Median(cpu)
		}
	}
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "%-12s %10s %8s %20s\n", "", "texts/s", "ratio", "ratio per processor")
	for _, c := range r.Contenders {
		fmt.Fprintf(out, "%-12s %10.1f %7.2fx %19.2fx\n", c.Name, c.TextsPerSecond, c.Ratio, c.ProcessorRatio)
	}
	fmt.Fprintf(out, "%d different texts a turn, medians of %d rounds\n", r.Texts, len(r.Contenders[0].turns))
}
