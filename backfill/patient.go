package backfill

import (
	"context"
	"io"
)

// patient reads from something that may block for ever, such as standard
// input, and gives up when its context ends. Then a goroutine stays with the
// blocked read; the process is about to end.
type patient struct {
	ctx   context.Context
	parts chan part
	rest  []byte
	err   error
}

type part struct {
	data []byte
	err  error
}

func newPatient(ctx context.Context, in io.Reader) *patient {
	p := &patient{ctx: ctx, parts: make(chan part)}
	go func() {
		for {
			buffer := make([]byte, 64<<10)
			n, err := in.Read(buffer)
			select {
			case p.parts <- part{buffer[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// Read implements io.Reader.
func (p *patient) Read(into []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		select {
		case next := <-p.parts:
			p.rest, p.err = next.data, next.err
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
	n := copy(into, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
