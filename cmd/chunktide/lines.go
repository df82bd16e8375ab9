package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// lines reads lines of at most limit bytes.
type lines struct {
	*bufio.Scanner
	limit int
}

func newLines(in io.Reader, limit int) lines {
	s := bufio.NewScanner(in)
	s.Buffer(nil, limit+1)
	return lines{s, limit}
}

// Err says what to do about a line that is too long.
func (l lines) Err() error {
	if err := l.Scanner.Err(); !errors.Is(err, bufio.ErrTooLong) {
		return err
	}
	return fmt.Errorf("is longer than %d bytes: raise events.limits.record_bytes, or split the text", l.limit)
}
