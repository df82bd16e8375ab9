package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"chunktide/canary"
)

// background runs a command inside the test until stop, and returns the address
// of its admin port.
func background(t *testing.T, args ...string) (address string, stop func()) {
	t.Helper()
	log := &watched{pattern: regexp.MustCompile(`serving metrics and health" address=(\S+)`), found: make(chan string, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &app{io: stdio{strings.NewReader(""), io.Discard, log}}) }()
	stopped := false
	stop = func() {
		cancel()
		if code := <-ended; code != exitDone && !stopped {
			t.Errorf("%q ended with %d: %s", args[0], code, log)
		}
		ended <- exitDone
		stopped = true
	}
	t.Cleanup(stop)
	select {
	case address = <-log.found:
		return address, stop
	case code := <-ended:
		ended <- exitDone
		t.Fatalf("%q ended with %d: %s", args[0], code, log)
		return "", nil
	}
}

func scrape(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A canary on a real worker: round after round, with nothing left behind, and
// the control, where nobody works.
func TestCanaryAndItsWorker(t *testing.T) {
	settings := stack(t)
	_, stopWorker := background(t, withSettings(settings, "run")...)
	waitUntil(t, "the worker has made the index", func() bool {
		code, _, _ := command(t, "", withSettings(settings, "search", "anything")...)
		return code == exitDone
	})
	for range 2 { // the second is an edit of what was deleted
		code, out, errs := command(t, "", withSettings(settings, "canary", "--once", "-o", "json")...)
		if r := decodeJSON[canary.Round](t, out); code != exitDone || r.Result != canary.OK || r.FoundSeconds <= 0 || r.GoneSeconds <= 0 {
			t.Fatalf("exit %d: %s%s", code, out, errs)
		}
	}
	address, stopCanary := background(t, withSettings(settings, "canary", "--interval", "20ms")...)
	ok := regexp.MustCompile(`chunktide_canary_rounds_total\{result="ok"\} ([3-9]|\d\d)`)
	waitUntil(t, "three rounds are done", func() bool { return ok.MatchString(scrape(t, address)) })
	text := scrape(t, address)
	for _, result := range canary.Results()[1:] {
		if line := fmt.Sprintf("chunktide_canary_rounds_total{result=%q} 0\n", result); !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	stopCanary()
	waitUntil(t, "readers meet no marker", func() bool {
		_, out, _ := command(t, "", withSettings(settings, "search", "-o", "json", "canary")...)
		return strings.TrimSpace(out) == "[]"
	})

	stopWorker()
	if code, _, errs := command(t, "", withSettings(append(slices.Clone(settings), "qdrant.address=127.0.0.1:1"), "canary", "--once", "--timeout", "300ms")...); code != exitFailed || !strings.Contains(errs, "deadline exceeded") {
		t.Errorf("without an index: exit %d: %s", code, errs)
	}
	code, out, errs := command(t, "", withSettings(settings, "canary", "--once", "--timeout", "300ms", "-o", "json")...)
	if r := decodeJSON[canary.Round](t, out); code != exitFailed || r.Result != canary.Timeout || !strings.Contains(errs, "does a worker") {
		t.Errorf("without a worker: exit %d: %s%s", code, out, errs)
	}
}

func TestCanaryRefusesWhatTheWorkerWould(t *testing.T) {
	for setting, want := range map[string]string{
		"events.format=debezium": "events.format is debezium", "events.format=cloudevents": "writes native events", "events.identity=content": "tombstone",
	} {
		code, _, errs := command(t, "", "canary", "--set", "kafka.topics=t", "--set", "kafka.group=g", "--set", setting)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %s; want %q", setting, code, errs, want)
		}
	}
	if code, _, errs := command(t, "", "canary", "--interval", "0s"); code != exitUsage || !strings.Contains(errs, "--interval") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
