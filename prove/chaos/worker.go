package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"chunktide/devstack/realservers"
)

// worker is a place for a worker process and what a supervisor does there:
// whenever the process ends, it starts the next.
type worker struct {
	name, topic string
	bin, dir    string
	args        []string
	route       map[server]*Proxy

	mu     sync.Mutex
	wanted bool
	life   *realservers.Command // the latest; nil before the first
	gone   chan struct{}        // closed when the supervisor has ended
	lives  int
	// metrics is where the process serves them, once it does.
	metrics string
	// killing is set while we end the process, so that its end is none of its
	// own.
	killing bool
	// failures are the ends that nobody asked for.
	failures []string
}

func newWorker(name, bin, dir string, route map[server]*Proxy, settings []string) *worker {
	args := []string{"run"}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	return &worker{name: name, bin: bin, dir: dir, args: args, route: route}
}

// start begins to keep a process running.
func (w *worker) start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wanted, w.gone = true, make(chan struct{})
	if err := w.launch(ctx); err != nil {
		return err
	}
	go w.supervise(context.WithoutCancel(ctx), w.gone)
	return nil
}

// launch starts the next life, with w.mu held.
func (w *worker) launch(ctx context.Context) error {
	w.lives++
	life, err := realservers.StartCommand(ctx, w.dir, realservers.CommandOptions{
		Name: fmt.Sprintf("%s.%d", w.name, w.lives), Bin: w.bin, Args: w.args, Env: environment(),
	})
	if err != nil {
		return err
	}
	w.life, w.killing, w.metrics = life, false, ""
	return nil
}

// environment is ours without the settings that somebody may have there.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "CHUNKTIDE_") })
}

func (w *worker) supervise(ctx context.Context, gone chan struct{}) {
	defer close(gone)
	for {
		w.mu.Lock()
		life := w.life
		w.mu.Unlock()
		<-life.Ended()
		w.mu.Lock()
		if !w.killing {
			w.failures = append(w.failures, fmt.Sprintf("%s.%d: %v: %s", w.name, w.lives, life.Err(), lastError(life.Log())))
		}
		if !w.wanted {
			w.mu.Unlock()
			return
		}
		err := w.launch(ctx)
		if err != nil {
			w.wanted = false
			w.failures = append(w.failures, err.Error())
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// current is the running process, if there is one that serves, and where its
// metrics are.
func (w *worker) current() (life *realservers.Command, metrics string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life == nil || w.life.PID() == 0 {
		return nil, ""
	}
	if w.metrics == "" {
		w.metrics = servedAt(w.life.Log())
	}
	if w.metrics == "" {
		return nil, ""
	}
	return w.life, w.metrics
}

// hit sends the process its end, and leaves it to the supervisor to start the
// next.
func (w *worker) hit(end func(*realservers.Command) error) error {
	w.mu.Lock()
	life := w.life
	w.killing = life != nil
	w.mu.Unlock()
	if life == nil {
		return nil
	}
	return end(life)
}

// stop ends the process in order and starts no other. It returns how the
// process ended.
func (w *worker) stop() error {
	w.mu.Lock()
	w.wanted = false
	life, gone := w.life, w.gone
	w.mu.Unlock()
	if life == nil {
		return nil
	}
	if err := w.hit((*realservers.Command).Stop); err != nil {
		return err
	}
	<-gone
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.life.Err(); err != nil {
		return fmt.Errorf("%s.%d: %w: %s", w.name, w.lives, err, lastError(w.life.Log()))
	}
	return nil
}

// kill ends the process in any way and starts no other.
func (w *worker) kill() {
	w.mu.Lock()
	w.wanted = false
	gone := w.gone
	w.mu.Unlock()
	if gone != nil {
		_ = w.hit((*realservers.Command).Kill)
		<-gone
	}
}

// serving waits for the process to be connected and at work.
func (w *worker) serving(ctx context.Context) (*realservers.Command, error) {
	var life *realservers.Command
	err := poll(ctx, time.Minute, func() (bool, error) {
		life, _ = w.current()
		return life != nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s does not come up: %w", w.name, err)
	}
	return life, nil
}

// logLine is what is read of a worker's log.
type logLine struct {
	Level   string `json:"level"`
	Message string `json:"msg"`
	Address string `json:"address"`
	Error   string `json:"error"`
}

func eachLine(path string, do func(line logLine, raw string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l logLine
		_ = json.Unmarshal(lines.Bytes(), &l)
		do(l, lines.Text())
	}
}

// servedAt is the address of the metrics, once they are served.
func servedAt(log string) (address string) {
	eachLine(log, func(l logLine, _ string) {
		if l.Message == "serving metrics and health" {
			address = l.Address
		}
	})
	return address
}

// lastError is the last line of a log, which says why a process ended.
func lastError(log string) (last string) {
	eachLine(log, func(_ logLine, raw string) { last = raw })
	return last
}

var errTooLong = errors.New("waited too long")

// poll asks again and again until something outside this process holds.
func poll(ctx context.Context, limit time.Duration, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLong)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := holds()
		if ok && err == nil {
			return nil
		}
		last = err
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		}
	}
}
