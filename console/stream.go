package console

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxStreams is how many may watch at once.
	maxStreams = 16
	// writeTimeout is how long a reader may take for one snapshot before it is
	// left behind.
	writeTimeout = 10 * time.Second
)

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, fmt.Sprintf("%d watch already; close another page", maxStreams), http.StatusServiceUnavailable)
}

// serveStream sends the past and then each snapshot as it is made, as
// server-sent events, until the reader goes or cannot keep up. A reader that is
// slow gets the newest and misses those between.
func (c *Console) serveStream(w http.ResponseWriter, r *http.Request) {
	leave, ok := c.watch()
	if !ok {
		tooMany(w)
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would gather it
	control := http.NewResponseController(w)
	// The server's limits are for requests that end. Where a wrapper takes these
	// calls away the stream ends with the limits, and the page begins another.
	_ = control.SetReadDeadline(time.Time{})
	send := func(format string, args ...any) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return control.Flush()
	}
	past, err := c.history()
	if err != nil || send("retry: 2000\nevent: history\ndata: %s\n\n", past) != nil {
		return
	}
	// A frame from before anybody watched is no news.
	stale := time.Now().Add(-2 * sampleEvery)
	var sent uint64
	for {
		latest, changed := c.now()
		if latest.seq > sent && latest.at.After(stale) {
			if send("id: %d\nevent: snapshot\ndata: %s\n\n", latest.seq, latest.json) != nil {
				return
			}
			sent = latest.seq
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// serveSnapshot answers with one snapshot, for scripts. It takes a second or
// two: what must be asked for has been asked for by then.
func (c *Console) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	leave, ok := c.watch()
	if !ok {
		tooMany(w)
		return
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout+time.Second)
	defer cancel()
	await := func(ch <-chan struct{}) {
		select {
		case <-ch:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
	}
	await(c.index.first)
	await(c.letters.first)
	_, changed := c.now()
	await(changed)
	latest, _ := c.now()
	if latest.json == nil {
		http.Error(w, "there is no snapshot: the worker is ending", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(latest.json)
	_, _ = io.WriteString(w, "\n")
}
