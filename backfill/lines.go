package backfill

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lineReader reads lines of at most limit bytes. A longer one is passed over,
// so that it costs no more memory than any other, and no more than itself.
type lineReader struct {
	in    *bufio.Reader
	limit int
	line  []byte
	// at is where the next line begins, in bytes from where reading began.
	at int64
}

func newLineReader(in io.Reader, limit int) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, 64<<10), limit: limit}
}

// next returns a line without its end, valid until the next call; tooLong
// says that it was longer than the limit, and is not there. After the last
// line the error is io.EOF.
func (l *lineReader) next() (line []byte, tooLong bool, err error) {
	l.line = l.line[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.at += int64(len(part))
		if tooLong = tooLong || len(l.line)+len(bytes.TrimRight(part, "\r\n")) > l.limit; !tooLong {
			l.line = append(l.line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(l.line) > 0 || tooLong):
			err = nil // the last line has no end
		case err != nil:
			return nil, false, err
		}
		if tooLong {
			return nil, true, err
		}
		return bytes.TrimRight(l.line, "\r\n"), false, err
	}
}
