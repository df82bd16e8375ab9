package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"chunktide/admin"
	"chunktide/cmd/worker"
	"chunktide/verify"
)

// watch verifies again and again until ctx ends. A look that fails is counted
// and logged, and the next may go better.
func (v *verifier) watch(ctx context.Context) error {
	reg := worker.NewRegistry()
	gauges := verify.NewGauges(reg)
	if v.cfg.Admin.Address != "" {
		if _, err := admin.Serve(ctx, v.cfg.Admin, admin.Options{Metrics: reg, Logger: v.logger}); err != nil {
			return err
		}
	}
	tick := time.NewTicker(v.o.watch)
	defer tick.Stop()
	for {
		v.o.Seed = 0 // another sample each time
		result, err := v.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			gauges.Failed()
			v.logger.Error("the index could not be verified", "error", err)
		default:
			gauges.Set(result.Report)
			if err := v.app.printVerify(result, v.o.show); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// printVerify prints what was found; at most show differences are named in
// text.
func (a *app) printVerify(r verifyResult, show int) error {
	if a.json() {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.io.out, "%s: %s, %d of them alive, against %s of the source, in %.1f s\n",
		r.Collection, numberOf(r.Points, "point"), r.Living, numberOf(r.Events, "event"), r.Seconds)
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, k := range verify.Kinds() {
		if r.Before != nil {
			fmt.Fprintf(table, "  %d\t%s\t(%d before the repair)\t\n", r.Differences[k], k, r.Before[k])
		} else {
			fmt.Fprintf(table, "  %d\t%s\t\n", r.Differences[k], k)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Sampled > 0 {
		fmt.Fprintf(a.io.out, "%s encoded again; the least cosine is %.4f\n", oneOrMore(r.Sampled, "vector was", "vectors were"), r.LeastCosine)
	}
	for _, other := range []struct {
		n         int
		one, more string
	}{
		{r.Pending, "event is not yet committed by the workers", "events are not yet committed by the workers"},
		{r.Newer, "point that differs is newer than the look", "points that differ are newer than the look"},
		{r.Ahead, "point has a version that the source does not", "points have a version that the source does not"},
		{r.Forgotten, "point is from before the beginning of the log", "points are from before the beginning of the log"},
		{r.Malformed, "record is malformed", "records are malformed"}, {r.Refused, "record is in the dead letters", "records are in the dead letters"},
	} {
		if other.n > 0 {
			fmt.Fprintf(a.io.out, "no difference: %s\n", oneOrMore(other.n, other.one, other.more))
		}
	}
	for i, d := range r.Named {
		if i == show {
			fmt.Fprintf(a.io.out, "… and %d more\n", r.Total()-show)
			break
		}
		fmt.Fprintln(a.io.out, d)
	}
	return nil
}
