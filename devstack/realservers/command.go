package realservers

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
)

// CommandOptions say what [StartCommand] starts.
type CommandOptions struct {
	// Name is for errors and for the log, which is Name.log in the folder.
	Name string
	// Bin is the program.
	Bin  string
	Args []string
	// Env is its environment; nil gives it ours.
	Env []string
	// Ready asks once whether it serves. Nil: it does when it has been started.
	Ready func(ctx context.Context) error
}

// Command is any other program as a process that belongs to us. Its methods
// may be called from any goroutine.
type Command struct {
	process *process
	ready   readiness
}

// StartCommand starts a program in dir and returns when it is ready.
func StartCommand(ctx context.Context, dir string, opts CommandOptions) (*Command, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	c := &Command{
		process: &process{name: opts.Name, bin: opts.Bin, args: opts.Args, env: opts.Env, dir: dir},
		ready: func(ctx context.Context, _ int) error {
			if opts.Ready == nil {
				return nil
			}
			return opts.Ready(ctx)
		},
	}
	if err := c.process.start(ctx, c.ready); err != nil {
		return nil, err
	}
	return c, nil
}

// PID is the process id, 0 while it does not run.
func (c *Command) PID() int { return c.process.pid() }

// Kill ends the process as a crash would (SIGKILL), a frozen one too, and
// returns when it is gone.
func (c *Command) Kill() error { return c.process.kill() }

// Stop ends the process in order (SIGTERM). Stopping one that has ended is no
// error.
func (c *Command) Stop() error { return c.process.stop() }

// Restart starts the program again, after stopping it if it still runs.
func (c *Command) Restart(ctx context.Context) error {
	if err := c.Stop(); err != nil {
		return err
	}
	return c.process.start(ctx, c.ready)
}

// Freeze stops the process where it is (SIGSTOP), until Thaw lets it go on
// (SIGCONT): to everybody else it looks dead, to itself no time has passed.
func (c *Command) Freeze() error { return c.process.signal(freeze) }

// Thaw is the end of Freeze.
func (c *Command) Thaw() error { return c.process.signal(thaw) }

// Ended is closed when the process of the latest start has ended, however that
// came.
func (c *Command) Ended() <-chan struct{} {
	c.process.mu.Lock()
	defer c.process.mu.Unlock()
	return c.process.run.ended
}

// Err is how the process has ended: nil is exit code 0. It must not be called
// before that.
func (c *Command) Err() error {
	<-c.Ended()
	c.process.mu.Lock()
	defer c.process.mu.Unlock()
	return c.process.run.err
}

// Log is the path of what the program has written.
func (c *Command) Log() string { return c.process.log() }

// LogTail is the end of it, for an error.
func (c *Command) LogTail() string { return c.process.logTail() }

// signal sends a signal to the running process.
func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil || p.run.over() {
		return fmt.Errorf("signal %s: it does not run", p.name)
	}
	if err := p.run.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}
