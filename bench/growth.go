package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"chunktide/embedder/tune"
)

// growth is (e): a worker in a process of its own, over ever longer topics of
// edits to the same chunks. Its memory must not grow with what it has done,
// nor an event's price. The encoder is the bag of words, so that what is
// measured is the worker and not the model.
func growth(ctx context.Context, s *Stage, o Options) (r Result, err error) {
	const chunks, texts = 10_000, 30_000
	idle, err := s.runToEnd(ctx, 0, nil)
	if err != nil {
		return r, err
	}
	r.Head = []string{"events", "processor time an event", "resident memory"}
	r.Plot = &Plot{X: "events", Y: "MiB, and µs an event", LogX: true}
	var runs []processRun
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		if n = o.sized(n); n < 1_000 {
			continue
		}
		run, err := s.runToEnd(ctx, n, func(i int) edit { return edit{chunk: i % chunks, text: i * 7 % texts, at: time.Now()} })
		if err != nil {
			return r, err
		}
		run.events, run.cpu = n, run.cpu-idle.cpu
		runs = append(runs, run)
		r.Rows = append(r.Rows, []string{
			fmt.Sprint(n), fmt.Sprintf("%.0f µs", run.price()*1e6),
			fmt.Sprintf("%.1f MiB", run.resident/(1<<20)),
		})
		r.Plot.add("resident memory, MiB", float64(n), run.resident/(1<<20))
		r.Plot.add("processor time an event, µs", float64(n), run.price()*1e6)
		o.say("  %d events: %.0f µs of processor time each, %.1f MiB", n, run.price()*1e6, run.resident/(1<<20))
	}
	last := runs[len(runs)-1]
	first := runs[max(0, len(runs)-3)]
	memory, price := last.resident/first.resident-1, last.price()/first.price()-1
	r.Bar = fmt.Sprintf("from %d to %d events: memory within 10 %% (%+.1f %%), price within 5 %% (%+.1f %%)", first.events, last.events, 100*memory, 100*price)
	r.Met = memory <= .10 && price <= .05
	r.Note = "edits of 10,000 chunks with 30,000 texts, cache.memory_bytes and kafka.buffer_bytes 4 MiB, kafka.fetch_max_bytes 256 KiB and record batches of 64 KiB, so that what is bounded is full early; what a start costs is taken off; memory is the median of the last third."
	return r, nil
}

// processRun is what one run of the program took.
type processRun struct {
	events   int
	cpu      time.Duration
	resident float64 // bytes
}

// price is the processor time of an event, in seconds.
func (p processRun) price() float64 { return p.cpu.Seconds() / float64(p.events) }

// runToEnd publishes n events and runs `chunktide run` over them.
func (s *Stage) runToEnd(ctx context.Context, n int, of func(int) edit) (run processRun, err error) {
	topic, err := s.topic(ctx, "growth", partitions, n, of)
	if err != nil {
		return run, err
	}
	args := []string{"run"}
	for _, setting := range append(s.settings(topic), "kafka.stop_at_end=true", "embedder.encoder=bow",
		"cache.memory_bytes=4194304", "kafka.buffer_bytes=4194304", "kafka.fetch_max_bytes=262144") {
		args = append(args, "--set", setting)
	}
	cmd := exec.CommandContext(ctx, s.Chunktide, args...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &log
	if err := cmd.Start(); err != nil {
		return run, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var samples []float64
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return run, fmt.Errorf("chunktide run: %w: %s", err, log.String())
			}
			if n > 0 && len(samples) == 0 {
				return run, errors.New("the worker was over before its memory was looked at")
			}
			run.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			if len(samples) > 0 {
				run.resident = tune.Median(samples[len(samples)*2/3:])
			}
			return run, nil
		case <-tick.C:
			if bytes, ok := resident(cmd.Process.Pid); ok {
				samples = append(samples, bytes)
			}
		case <-ctx.Done():
			return run, errors.Join(ctx.Err(), cmd.Process.Signal(syscall.SIGKILL))
		}
	}
}

// resident is the memory of a process; false if it is over.
func resident(pid int) (bytes float64, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, false
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil || pages == 0 {
		return 0, false
	}
	return pages * float64(os.Getpagesize()), true
}
