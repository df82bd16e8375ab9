package realservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startLimit bounds a start, whatever the context allows.
	startLimit = 90 * time.Second
	// stopLimit is how long a server may take to stop before it is killed.
	stopLimit = 20 * time.Second
)

// process is one server that can be started over and over.
type process struct {
	name string
	bin  string
	args []string
	env  []string // nil: that of this process
	dir  string   // the working directory; its log lies here
	as   *account // nil: ourselves

	mu  sync.Mutex
	run *running // the latest; nil before the first start
}

// running is one life of a process.
type running struct {
	cmd *exec.Cmd
	// ended is closed when it has ended, and err is set then.
	ended chan struct{}
	err   error
}

func (p *process) log() string { return filepath.Join(p.dir, p.name+".log") }

// launch starts the process and does not wait for it to serve.
func (p *process) launch() (*running, error) {
	logFile, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	// Not CommandContext: a server outlives the context of its start.
	cmd := exec.Command(p.bin, p.args...) //nolint:noctx // see above
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, logFile, logFile
	cmd.SysProcAttr = p.as.attributes()
	r := &running{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux sends the death signal when the thread that forked ends, so
		// this goroutine keeps its thread as long as the server lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = logFile.Close() // the child has its own
		started <- err
		if err != nil {
			return
		}
		r.err = cmd.Wait()
		close(r.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return r, nil
}

// readiness asks once whether the process with this id serves. It must not
// take a stranger on the same port for it.
type readiness func(ctx context.Context, pid int) error

// start launches the process and waits until ready says yes. If it does not
// come to that, nothing is left running.
func (p *process) start(ctx context.Context, ready readiness) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil && !p.run.over() {
		return fmt.Errorf("start %s: it runs already", p.name)
	}
	r, err := p.launch()
	if err != nil {
		return err
	}
	if err := p.await(ctx, r, ready); err != nil {
		_ = r.cmd.Process.Kill()
		<-r.ended
		return fmt.Errorf("start %s: %w; its log ends with:\n%s", p.name, err, p.logTail())
	}
	p.run = r
	return nil
}

// await polls: a server has no other way to tell that it is ready.
func (p *process) await(ctx context.Context, r *running, ready readiness) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		attempt, done := context.WithTimeout(ctx, 2*time.Second)
		err := ready(attempt, r.cmd.Process.Pid)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-r.ended:
			return fmt.Errorf("it ended by itself: %w", errors.Join(r.err, errEnded))
		case <-ctx.Done():
			return fmt.Errorf("it did not serve in time: %w", errors.Join(context.Cause(ctx), err))
		case <-tick.C:
		}
	}
}

var errEnded = errors.New("look for the cause in its log")

func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// kill ends the process at once, as a crash would (SIGKILL), and returns when
// it is gone.
func (p *process) kill() error { return p.end(syscall.SIGKILL) }

// stop asks the process to end (SIGTERM) and waits for it; one that does not
// is killed, which is an error. Stopping what has stopped is none.
func (p *process) stop() error { return p.end(syscall.SIGTERM) }

func (p *process) end(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil || p.run.over() {
		return nil
	}
	// The handle, not the number: it never names another process.
	if err := p.run.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.run.ended:
		return nil
	case <-limit.C:
		_ = p.run.cmd.Process.Kill()
		<-p.run.ended
		return fmt.Errorf("%s did not stop within %s and was killed", p.name, stopLimit)
	}
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil || p.run.over() {
		return 0
	}
	return p.run.cmd.Process.Pid
}

// logTail is the last lines of the log, for an error.
func (p *process) logTail() string {
	b, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
