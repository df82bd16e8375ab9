package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/devstack/godocs"
)

// keeping says that the demo goes on after its checks.
type keeping struct{ on, noOpen bool }

// demoPrice is what a million tokens cost where the settings name no price, so
// that the console has money to show.
const demoPrice = 0.02

// keep runs a worker with its console, and edits chunks, until ctx ends: that
// is how a demo that is kept ends well.
func (d *demo) keep(ctx context.Context, passages []godocs.Passage, keep keeping) error {
	at, closing, err := d.serveConsole(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closing() }()
	url := d.console(at)
	d.say("\nThe console is at %s\nChunks are edited meanwhile, and now and then one is malformed. Ctrl-C ends it.\n\n"+
		"To try other commands on it (status, why, dlq list, search, …), in another terminal:\n\n%s", url, d.exports(at))
	if !keep.noOpen {
		d.app.openBrowser(url)
	}
	err = d.edit(ctx, newEditor(d.corpus, passages))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// console is the page's address, with the scheme that the admin port speaks.
func (d *demo) console(at net.Addr) string {
	cfg := d.cfg.Admin
	cfg.Address = at.String()
	return cfg.URL() + "/"
}

// exports are the settings with which other commands find the demo's servers.
func (d *demo) exports(at net.Addr) string {
	var lines strings.Builder
	tls := d.cfg.Admin.TLS
	for _, s := range [][2]string{
		{"kafka.brokers", strings.Join(d.cfg.Kafka.Brokers, ",")}, {"kafka.topics", demoTopic}, {"kafka.group", demoGroup},
		{"cache.url", d.stack.RedisURL}, {"qdrant.address", d.cfg.Qdrant.Address}, {"qdrant.index", demoIndex},
		{"admin.address", at.String()},
		{"admin.tls.cert_file", tls.CertFile}, {"admin.tls.key_file", tls.KeyFile}, {"admin.tls.client_ca_file", tls.ClientCAFile},
		{"admin.tls.ca_file", tls.CAFile}, {"admin.tls.server_name", tls.ServerName},
	} {
		if s[1] == "" {
			continue // TLS is off, mostly
		}
		fmt.Fprintf(&lines, "    export %s=%s\n", configs.EnvName(s[0]), s[1])
	}
	return lines.String()
}

// serveConsole replaces encoder and worker by new ones, whose metrics begin
// now, and serves their console.
func (d *demo) serveConsole(ctx context.Context) (at net.Addr, closing func() error, err error) {
	if err := errors.Join(d.finish(ctx), d.encoder.Close()); err != nil {
		return nil, nil, err
	}
	d.cfg.Kafka.StopAtEnd = false
	d.cfg.Console.Enabled, d.cfg.Console.Search = true, true
	if d.cfg.Backfill.PricePerMillionTokens == 0 {
		d.cfg.Backfill.PricePerMillionTokens = demoPrice
	}
	reg := worker.NewRegistry()
	if d.encoder, err = newEncoder(ctx, d.cfg, d.logger, reg); err != nil {
		return nil, nil, err
	}
	if err := d.startWith(ctx, nil, reg); err != nil {
		return nil, nil, err
	}
	if d.cfg.Admin.Address == "" {
		d.cfg.Admin.Address = anyPort
	}
	at, closing, err = serveWorker(ctx, d.cfg, d.worker, d.encoder, reg, d.logger)
	if errors.Is(err, syscall.EADDRINUSE) {
		// A worker of this machine's has it; a demo is not to be stopped by that.
		d.cfg.Admin.Address = anyPort
		at, closing, err = serveWorker(ctx, d.cfg, d.worker, d.encoder, reg, d.logger)
	}
	return at, closing, err
}

const anyPort = "127.0.0.1:0"

// edit publishes what the editor does, second by second, until ctx or the
// worker ends.
func (d *demo) edit(ctx context.Context, e *editor) error {
	p, err := newPublisher(d.cfg, demoTopic)
	if err != nil {
		return err
	}
	defer p.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		changes, malformed := e.next()
		for _, c := range changes {
			c.Time = time.Now()
			value, err := json.Marshal(c)
			if err != nil {
				return err
			}
			if err := p.send(ctx, value); err != nil {
				return err
			}
			d.corpus.note(c)
		}
		if malformed != "" {
			// Past the publisher's check: what other people's producers do.
			record := &kgo.Record{Topic: demoTopic, Key: []byte("malformed"), Value: []byte(malformed)}
			if err := p.client.ProduceSync(ctx, record).FirstErr(); err != nil {
				return fmt.Errorf("write to topic %s: %w", demoTopic, err)
			}
		}
		if err := p.flush(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-d.ended:
			return errors.Join(errors.New("the worker ended"), d.failed)
		case <-ctx.Done():
			return nil
		}
	}
}

// editor thinks of what happens to a corpus, second by second: edits, texts
// that are put back, deletes, more and fewer of them like the tide, now and
// then many at once, and mistakes. It does
// the same every time.
type editor struct {
	corpus   *corpus
	passages []godocs.Passage
	second   int
	edits    int
	deleted  []godocs.Passage
}

func newEditor(c *corpus, passages []godocs.Passage) *editor {
	e := &editor{corpus: c}
	for _, p := range passages {
		if last := c.last[chunk.NewID(demoSource, p.Document, p.Chunk)]; last.Op == "upsert" {
			e.passages = append(e.passages, p)
		}
	}
	return e
}

// How often the less usual things happen, in seconds.
const (
	tide         = 40 // from low water to low water
	surgeEvery   = 60
	surgeChunks  = 60
	mistakeEvery = 13
	deleteEvery  = 6
	putBackEvery = 3 // of the edits
)

// next is what happens in the next second.
func (e *editor) next() (changes []change, malformed string) {
	n := 1 + int(4*(1-math.Cos(2*math.Pi*float64(e.second)/tide)))
	if e.second%surgeEvery == surgeEvery/2 {
		n = surgeChunks
	}
	for range n {
		p := e.passages[(e.edits*37)%len(e.passages)]
		e.edits++
		if e.edits%putBackEvery != 0 { // else as it was before: a text that is known
			p.Text = fmt.Sprintf("%s\n\nReviewed, for the %dth time.", p.Text, e.edits)
		}
		changes = append(changes, e.corpus.upsert(p))
	}
	switch {
	case e.second%deleteEvery != 0:
	case len(e.deleted) < 5:
		p := e.passages[(e.edits*53)%len(e.passages)]
		e.deleted = append(e.deleted, p)
		changes = append(changes, e.corpus.delete(p))
	default:
		changes = append(changes, e.corpus.upsert(e.deleted[0]))
		e.deleted = e.deleted[1:]
	}
	if e.second%mistakeEvery == 2 {
		malformed = mistakes[(e.second/mistakeEvery)%len(mistakes)]
	}
	e.second++
	return changes, malformed
}

// mistakes are what producers get wrong.
var mistakes = [...]string{
	`{"op":"upsert","source":"go","document_id":"net/http","chunk_id":"Client","text":"A Client is an HTTP cli`,
	`{"op":"upsertt","source":"go","document_id":"net/http","chunk_id":"Client","text":"A Client is an HTTP client.","version":7}`,
	`{"op":"upsert","source":"go","chunk_id":"Client","text":"A Client is an HTTP client.","version":7}`,
	`{"op":"upsert","source":"go","document_id":"net/http","chunk_id":"Client","text":["A Client","is an HTTP client."],"version":7}`,
}

// openBrowser opens a page for whoever sits at this machine, if anybody does.
func (a *app) openBrowser(url string) {
	name := "xdg-open"
	switch {
	case !a.terminal():
		return
	case runtime.GOOS == "darwin":
		name = "open"
	case a.getenv("DISPLAY") == "" && a.getenv("WAYLAND_DISPLAY") == "":
		return
	}
	// It outlives the demo, as what a person opened does.
	cmd := exec.Command(name, url) //nolint:noctx // see above
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}
