package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress shows how far long work has come: one line that is drawn over
// itself on a terminal, and a new line now and then elsewhere.
type progress struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	last  time.Time
	drawn bool
}

const (
	redraw  = 100 * time.Millisecond
	newLine = 5 * time.Second
)

func (a *app) progress() *progress {
	return &progress{out: a.io.err, terminal: a.terminal(), last: time.Now()}
}

// show draws the line, unless it has just done so.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := newLine
	if p.terminal {
		every = redraw
	}
	if time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	p.draw(format, args...)
}

// done draws the line for the last time.
func (p *progress) done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(format, args...)
	if p.terminal {
		fmt.Fprintln(p.out)
	}
	p.drawn = false
}

func (p *progress) draw(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		p.drawn = true
		return
	}
	fmt.Fprintln(p.out, line)
}
