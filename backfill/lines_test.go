package backfill

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// Whatever stands in a file, each line is read once and in order, no line
// longer than the limit is kept, and at each line's end the reader knows where
// it is.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\n\xef\xbb\xbffour"), 3)
	f.Add(bytes.Repeat([]byte("x"), 70_000), 66_000)
	f.Add(append(bytes.Repeat([]byte("x"), 70_000), "\nafter"...), 5)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = 1 + max(0, limit)%(1<<17)
		want := bytes.Split(data, []byte("\n"))
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1] // the last line has an end
		}
		for _, in := range []io.Reader{bytes.NewReader(data), iotest.HalfReader(bytes.NewReader(data))} {
			r := newLineReader(in, limit)
			at := 0
			for i, line := range want {
				got, tooLong, err := r.next()
				if err != nil {
					t.Fatalf("line %d: %v", i+1, err)
				}
				at = min(at+len(line)+1, len(data))
				plain := bytes.TrimRight(line, "\r\n")
				switch {
				case r.at != int64(at):
					t.Fatalf("after line %d it is at %d, want %d", i+1, r.at, at)
				case tooLong && len(line) <= limit:
					t.Fatalf("line %d of %d bytes is too long for %d", i+1, len(line), limit)
				case !tooLong && len(plain) > limit:
					t.Fatalf("line %d of %d bytes was kept, the limit is %d", i+1, len(plain), limit)
				case !tooLong && !bytes.Equal(got, plain):
					t.Fatalf("line %d is %q, want %q", i+1, got, plain)
				}
			}
			if _, _, err := r.next(); !errors.Is(err, io.EOF) {
				t.Fatalf("after the last line: %v", err)
			}
		}
	})
}
