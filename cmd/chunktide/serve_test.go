package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"chunktide/embedder"
	"chunktide/embedder/service"
)

// watched is a log that tells when a pattern has come.
type watched struct {
	pattern *regexp.Regexp
	found   chan string

	mu  sync.Mutex
	all bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(p)
	if m := w.pattern.FindSubmatch(w.all.Bytes()); m != nil {
		select {
		case w.found <- string(m[1]):
		default:
		}
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// served runs `chunktide serve` inside the test until its end.
func served(t *testing.T, file string, settings ...string) (url string) {
	t.Helper()
	args := withSettings(append(slices.Clone(settings), "serve.address=127.0.0.1:0"), "serve")
	if file != "" {
		args = append(args, "--config", file)
	}
	log := &watched{pattern: regexp.MustCompile(`url=(\S+)`), found: make(chan string, 1)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, args, &app{io: stdio{strings.NewReader(""), io.Discard, log}})
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitDone {
			t.Errorf("serve ended with %d: %s", code, log)
		}
	})
	select {
	case url = <-log.found:
		return url
	case code := <-ended:
		ended <- exitDone
		t.Fatalf("serve ended with %d: %s", code, log)
		return ""
	}
}

func configFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chunktide.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asked sends a request of /v1/embeddings.
func asked(t *testing.T, url, request string) (status int, header http.Header, answer struct {
	Model string
	Error struct{ Message string }
}) {
	t.Helper()
	resp, err := http.Post(url+"/v1/embeddings", "application/json", strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// pointTo moves an alias, as a promotion does.
func pointTo(t *testing.T, address, alias, collection string) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = qdrant.NewCollectionsClient(conn).UpdateAliases(t.Context(), &qdrant.ChangeAliases{Actions: []*qdrant.AliasOperations{
		qdrant.NewAliasDelete(alias), qdrant.NewAliasCreate(alias, collection),
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// The life of an alias in front of the service: absent, made, promoted.
func TestServeFollowsTheAlias(t *testing.T) {
	settings := stack(t)
	file := configFile(t, "serve:\n  alias_ttl: 0s\n  models:\n    - {encoder: bow, model_name: new}\n")
	old := append(slices.Clone(settings), "embedder.model_name=old")
	url, withNew := served(t, "", old...), served(t, file, old...)
	const query = `{"model":"chunks","input":"how do I reset my password"}`
	if status, _, answer := asked(t, url, query); status != http.StatusNotFound {
		t.Errorf("without an index: %d %+v", status, answer)
	}
	fill := func(more ...string) {
		t.Helper()
		code, _, errs := command(t, "", withSettings(slices.Concat(settings, more, []string{"kafka.stop_at_end=true"}), "run")...)
		if code != exitDone {
			t.Fatalf("run: exit %d, %s", code, errs)
		}
	}
	fill("embedder.model_name=old")
	for _, u := range []string{url, withNew} {
		if status, header, answer := asked(t, u, query); status != http.StatusOK || answer.Model != "old" || header.Get(service.HeaderVersion) != "old" {
			t.Errorf("%d %+v, want an answer by old", status, answer)
		}
	}
	fill("embedder.model_name=new", "qdrant.collection=chunks-new", "kafka.group=other")
	var address string
	for _, s := range settings {
		if a, ok := strings.CutPrefix(s, "qdrant.address="); ok {
			address = a
		}
	}
	pointTo(t, address, "chunks", "chunks-new")
	status, header, answer := asked(t, withNew, query)
	if status != http.StatusOK || answer.Model != "new" || header.Get(service.HeaderCollection) != "chunks-new" ||
		header.Get(service.HeaderDigest) != fmt.Sprintf("%x", embedder.NewBow("new", nil).Recipe().Digest()) {
		t.Errorf("after the promotion: %d %+v %v", status, answer, header)
	}
	if status, _, answer := asked(t, withNew, `{"model":"old","input":"x"}`); status != http.StatusOK || answer.Model != "old" {
		t.Errorf("by name: %d %+v", status, answer)
	}
	metrics, err := http.Get(withNew + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	text, err := io.ReadAll(metrics.Body)
	for _, series := range []string{`model_version="old"`, `model_version="new"`, "chunktide_serve_queue_tokens", "chunktide_model_calls_total"} {
		if err != nil || !strings.Contains(string(text), series) {
			t.Errorf("%s is not in the metrics (%v)", series, err)
		}
	}
}

func TestServeRefusesWhatCannotWork(t *testing.T) {
	bow := "embedder.encoder=bow"
	for says, c := range map[string]struct {
		file string
		set  []string
		code int
	}{
		"serve.api_key":       {set: []string{bow, "serve.address=0.0.0.0:0"}, code: exitUsage},
		"serve.address":       {set: []string{bow, "serve.address=256.0.0.1:1", "serve.allow_unauthenticated=true"}, code: exitFailed},
		"serve.models":        {file: "serve: {models: [{encoder: bow}]}", set: []string{bow}, code: exitFailed},
		"serve.aliases":       {set: []string{bow, "qdrant.index=demo-bow-v1"}, code: exitFailed},
		"serve.tls.cert_file": {set: []string{bow, "serve.address=127.0.0.1:0", "serve.tls.cert_file=no", "serve.tls.key_file=no"}, code: exitFailed},
	} {
		args := withSettings(c.set, "serve")
		if c.file != "" {
			args = append(args, "--config", configFile(t, c.file))
		}
		if code, _, errs := command(t, "", args...); code != c.code || !strings.Contains(errs, says) {
			t.Errorf("%s: exit %d, %s", says, code, errs)
		}
	}
}

// A worker without a model of its own fills the index that a worker with one
// would fill, and either can search it.
func TestAWorkerOverTheService(t *testing.T) {
	settings := stack(t)
	url := served(t, "", settings...)
	remote := slices.Concat(settings, []string{"embedder.encoder=remote", "embedder.remote.url=" + url})
	events := `{"op":"upsert","document_id":"d","chunk_id":"a","text":"apples and pears","version":1}
{"op":"upsert","document_id":"d","chunk_id":"b","text":"bolts and nuts","version":1}
`
	if code, _, errs := command(t, events, withSettings(settings, "publish")...); code != exitDone {
		t.Fatal(errs)
	}
	if code, _, errs := command(t, "", withSettings(append(slices.Clone(remote), "kafka.stop_at_end=true"), "run")...); code != exitDone {
		t.Fatalf("run: exit %d, %s", code, errs)
	}
	for name, with := range map[string][]string{"remote": remote, "local": settings} {
		code, out, errs := command(t, "", withSettings(with, "search", "-o", "json", "-n", "1", "nuts and bolts")...)
		if code != exitDone || !strings.Contains(out, `"chunk_id": "b"`) || !strings.Contains(out, embedder.BowName) {
			t.Errorf("search by the %s encoder: exit %d, %s %s", name, code, out, errs)
		}
	}
	if code, out, errs := command(t, "", withSettings(remote, "doctor")...); code != exitDone {
		t.Errorf("doctor: exit %d, %s %s", code, out, errs)
	}
	// The control: a service with another model is refused by the index.
	other := served(t, "", append(slices.Clone(settings), "embedder.model_name=other")...)
	code, _, errs := command(t, "", withSettings(append(remote, "embedder.remote.url="+other, "kafka.stop_at_end=true"), "run")...)
	if code != exitFailed || !strings.Contains(errs, "cannot be compared") {
		t.Errorf("run with another model: exit %d, %s", code, errs)
	}
}
