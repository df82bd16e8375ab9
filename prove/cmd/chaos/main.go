// Command chaos runs the fault suite against real servers; see
// chunktide/prove/chaos. It exits with 0 if nothing was violated and, with
// -control, the control failed; with 1 if not, or if the run could not be
// carried out.
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
	"syscall"
	"time"

	"chunktide/prove/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// results is what -json writes.
type results struct {
	Run     *chaos.Report     `json:"run,omitempty"`
	Control *chaos.Report     `json:"control,omitempty"`
	Soak    *chaos.SoakReport `json:"soak,omitempty"`
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	seed := flags.Uint64("seed", 1, "what the events and the schedule of faults follow from")
	control := flags.Bool("control", false, "run the same without the fence as well, which must fail")
	soak := flags.Duration("soak", 0, "run at a low rate for so long instead, and compare sizes")
	file := flags.String("json", "", "write the report to this file, too")
	dir := flags.String("dir", "", "where logs and data lie (a temporary folder by default)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var found results
	var err error
	if *soak > 0 {
		err = soakRun(ctx, *seed, *soak, *dir, &found, out, progress)
	} else {
		err = chaosRun(ctx, *seed, *control, *dir, &found, out, progress)
	}
	if *file == "" {
		return err
	}
	return errors.Join(err, write(*file, found))
}

func chaosRun(ctx context.Context, seed uint64, control bool, dir string, found *results, out, progress io.Writer) (err error) {
	c := chaos.Config{Plan: chaos.FullPlan(), Seed: seed, Dir: dir, Progress: progress}
	if chaos.HaveQdrantCommand() {
		c.Plan.Faults[chaos.KillQdrant] = 5
	}
	if found.Run, err = chaos.Run(ctx, c); err != nil {
		return err
	}
	found.Run.Print(out)
	var errs []error
	if wrong := found.Run.Wrong(); len(wrong) > 0 {
		errs = append(errs, fmt.Errorf("violated: %v", wrong))
	}
	if control {
		c.Unfenced, c.Dir = true, ""
		if found.Control, err = chaos.Run(ctx, c); err != nil {
			return errors.Join(append(errs, fmt.Errorf("the control: %w", err))...)
		}
		found.Control.Print(out)
		if !found.Control.Caught() {
			errs = append(errs, errors.New("the control is clean, so that the run proves nothing"))
		}
	}
	return errors.Join(errs...)
}

func soakRun(ctx context.Context, seed uint64, d time.Duration, dir string, found *results, out, progress io.Writer) (err error) {
	if found.Soak, err = chaos.Soak(ctx, chaos.Config{Seed: seed, Dir: dir, Progress: progress}, d); err != nil {
		return err
	}
	found.Soak.Print(out)
	if wrong := found.Soak.Wrong(); len(wrong) > 0 {
		return fmt.Errorf("violated: %v", wrong)
	}
	return nil
}

func write(file string, found results) error {
	text, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil { //nolint:gosec // it is to be read
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
