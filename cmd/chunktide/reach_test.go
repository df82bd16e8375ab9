package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// noQdrant is a port that hangs up on everybody, or says nothing; calls counts
// those who came.
func noQdrant(t *testing.T, silent bool, calls func()) (address string) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if calls(); silent {
				defer conn.Close() // when nobody listens any more
			} else {
				_ = conn.Close()
			}
		}
	}()
	return l.Addr().String()
}

// Who looks is told soon that Qdrant is down, and where it is looked for.
func TestWhoLooksDoesNotWaitForLong(t *testing.T) {
	d := newDesk(t)
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(rows, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"a","text":"x","version":1}`, "publish")
	d.catchUp() // so that the group is there for a replay
	for name, silent := range map[string]bool{"hangs up": false, "says nothing": true} {
		address := noQdrant(t, silent, func() {})
		for _, args := range []string{
			"index status", "index list", "index create", "index promote x", "index rollback", "index drop x --yes", "index verify",
			"migrate status", "migrate plan", "migrate promote", "migrate rollback --yes", "migrate abort --yes",
			"replay --to earliest --dry-run", "backfill " + rows + " --as-of 2026-05-04T10:00:00Z --dry-run",
		} {
			// Were it as patient as a worker, this would end it, with another error.
			ctx, cancel := context.WithCancel(t.Context())
			tired := time.AfterFunc(10*time.Second, cancel)
			var out, errs strings.Builder
			call := strings.Fields(args)
			for _, s := range append(d.settings, "qdrant.address="+address) {
				call = append(call, "--set", s)
			}
			code := run(ctx, call, &app{io: stdio{strings.NewReader(""), &out, &errs}, patience: 200 * time.Millisecond})
			if code != exitFailed || out.Len() > 0 || !strings.Contains(errs.String(), "is it at qdrant.address, "+address) {
				t.Errorf("%s, of a Qdrant that %s: exit %d, %s%s", args, name, code, out.String(), errs.String())
			}
			tired.Stop()
			cancel()
		}
	}
}

// The control: who writes, or watches, goes on until it is stopped.
func TestWhoWritesIsPatient(t *testing.T) {
	d := newDesk(t)
	for _, args := range []string{"run", "migrate start", "index verify --watch 1h"} {
		ctx, stop := context.WithCancel(t.Context())
		var calls atomic.Int64
		address := noQdrant(t, false, func() {
			if calls.Add(1) == 3 { // some seconds later, as the connection backs off
				stop()
			}
		})
		var out, errs strings.Builder
		call := strings.Fields(args)
		for _, s := range append(d.settings, "qdrant.address="+address) {
			call = append(call, "--set", s)
		}
		code := run(ctx, call, &app{io: stdio{strings.NewReader(""), &out, &errs}, patience: time.Millisecond})
		if calls.Load() < 3 || code != exitFailed || !strings.Contains(errs.String(), "context canceled") {
			t.Errorf("%s called %d times: exit %d, %s", args, calls.Load(), code, errs.String())
		}
		stop()
	}
}
