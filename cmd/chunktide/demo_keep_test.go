package main

import (
	"bytes"
	"context"
	"flag"
	"image/png"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"chunktide/admin"
	"chunktide/devstack"
)

// `make screenshots` sets them.
var (
	screenshots = flag.String("screenshots", "", "write screenshots of the console to this folder, of the demo with the real model")
	shootAfter  = flag.Duration("screenshots-after", 2*time.Minute, "how long the demo has been running by then")
)

// What the demo prints can be opened, and the settings that it names reach it.
func TestTheDemoNamesItsPort(t *testing.T) {
	t.Parallel()
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9470}
	for name, c := range map[string]struct {
		tls     admin.TLS
		url     string
		exports []string
	}{
		"plain": {admin.TLS{}, "http://127.0.0.1:9470/", nil},
		"TLS": {admin.TLS{CertFile: "c.pem", KeyFile: "k.pem", CAFile: "ca.pem"}, "https://127.0.0.1:9470/",
			[]string{"CHUNKTIDE_ADMIN_TLS_CERT_FILE=c.pem", "CHUNKTIDE_ADMIN_TLS_KEY_FILE=k.pem", "CHUNKTIDE_ADMIN_TLS_CA_FILE=ca.pem"}},
	} {
		d := &demo{stack: &devstack.Stack{RedisURL: "redis://r"}}
		d.cfg.Kafka.Brokers, d.cfg.Qdrant.Address, d.cfg.Admin.TLS, d.cfg.Admin.Token = []string{"k:1"}, "q:1", c.tls, "hunter2"
		if got := d.console(at); got != c.url {
			t.Errorf("%s: the console is said to be at %s, want %s", name, got, c.url)
		}
		got := d.exports(at)
		for _, want := range append(c.exports, "CHUNKTIDE_ADMIN_ADDRESS=127.0.0.1:9470") {
			if !strings.Contains(got, "export "+want+"\n") {
				t.Errorf("%s: the exports lack %s:\n%s", name, want, got)
			}
		}
		if strings.Count(got, "export ") != 7+len(c.exports) || strings.Contains(got, "hunter2") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// The demo goes on with its console until Ctrl-C, and then ends well; what a
// person would do meanwhile, with a screenshot.
func TestTheDemoIsKept(t *testing.T) {
	b := newBrowser(t)
	args := []string{"demo", "--keep", "--no-open", "--chunks", "60", "--set", "admin.address=127.0.0.1:0", "--set", "embedder.encoder=bow"}
	if *screenshots != "" {
		args = []string{"demo", "--keep", "--no-open", "--chunks", "2000", "--set", "admin.address=127.0.0.1:0"}
	}
	out := &watched{pattern: regexp.MustCompile(`The console is at (\S+)`), found: make(chan string, 1)}
	errs := &bytes.Buffer{}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &app{io: stdio{strings.NewReader(""), out, errs}}) }()
	var url string
	select {
	case url = <-out.found:
	case code := <-ended:
		t.Fatalf("the demo ended with %d: %s", code, errs)
	}
	var environ []string
	out.mu.Lock()
	for _, m := range regexp.MustCompile(`(?m)^ *export (\S+)$`).FindAllStringSubmatch(out.all.String(), -1) {
		environ = append(environ, m[1])
	}
	out.mu.Unlock()
	said := &bytes.Buffer{}
	if code := run(t.Context(), []string{"status"}, &app{io: stdio{strings.NewReader(""), said, said}, environ: environ}); code != exitDone || len(environ) != 7 {
		t.Errorf("with the settings that the demo names, status exits with %d: %q\n%s", code, environ, said)
	}
	b.viewport(1440, 900, false)
	b.scheme(true)
	b.do(chromedp.Navigate(url))
	b.until("events flow", `Number(document.querySelector('[data-metric="chunktide_events_total"][data-show="rate"]').dataset.value) > 0`)
	b.until("a mistake is among the dead letters", `document.querySelector("#letters li")`)
	if *screenshots != "" {
		time.Sleep(*shootAfter) // for curves; not in a test
	}
	b.press("/")
	// A key that is pressed by the protocol writes what a person's would not.
	js[any](b, `(document.activeElement.value = "", null)`)
	b.press("How do I read a whole file into memory?\r")
	b.until("chunks are found", `document.querySelectorAll("#hits > li").length === 5`)
	js[any](b, `(document.activeElement.blur(), null)`)
	folder := *screenshots
	if folder == "" {
		folder = t.TempDir()
	}
	shoot := func(name string, width, height int64, dark bool) {
		b.viewport(width, height, width < 500)
		b.scheme(dark)
		b.until("it is drawn anew", `document.documentElement.dataset.seq > %d`, js[int](b, "Number(document.documentElement.dataset.seq)"))
		picture := small(t, b.screenshot(float64(width), float64(height)))
		if config, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || config.Width != int(width) {
			t.Errorf("%s is no picture of the page: %v, %v", name, config, err)
		}
		if len(picture) < 10_000 || len(picture) > 300_000 {
			t.Errorf("%s has %d bytes: an empty page, or too much for a README", name, len(picture))
		}
		if err := os.WriteFile(filepath.Join(folder, name), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shoot("console-dark.png", 1440, 2000, true)
	shoot("console-light.png", 1440, 2000, false)
	shoot("console-phone.png", 390, 1560, true)
	if all := b.elsewhere(strings.TrimSuffix(url, "/")); len(all) > 0 {
		t.Errorf("the page asked elsewhere: %q", all)
	}
	if all := b.complained(); len(all) > 0 {
		t.Errorf("the page complains: %q", all)
	}
	interrupt()
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d after Ctrl-C: %s", code, errs)
	}
}
