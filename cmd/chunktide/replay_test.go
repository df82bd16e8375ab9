package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/devstack"
	"chunktide/embedder"
)

// desk runs commands with settings of its own, against servers of its own.
type desk struct {
	t        *testing.T
	settings []string
	stack    *devstack.Stack
	cfg      configs.Config
	// index is its name, unlike any other's on the server.
	index string
	// encoded counts the texts that workers gave to the model.
	encoded atomic.Int64
}

func newDesk(t *testing.T, settings ...string) *desk {
	t.Helper()
	return newDeskBehind(t, nil, settings...)
}

// newDeskBehind has something before its Qdrant.
func newDeskBehind(t *testing.T, intercept grpc.UnaryServerInterceptor, settings ...string) *desk {
	t.Helper()
	stack, err := devstack.Start(t.Context(), devstack.Options{
		Topics: map[string]int32{"docs": 3, "docs.dead-letters": 1}, QdrantInterceptor: intercept,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	d := &desk{t: t, stack: stack, index: "desk"}
	address := stack.QdrantAddr
	if real := os.Getenv("CHUNKTIDE_TEST_QDRANT"); real != "" && intercept == nil {
		address, d.index = real, fmt.Sprintf("desk-%d-%d", os.Getpid(), time.Now().UnixNano())
		stack.QdrantAddr = real
	}
	d.settings = append([]string{
		"kafka.brokers=" + stack.KafkaBrokers[0], "kafka.topics=docs", "kafka.group=desk", "embedder.encoder=bow",
		"qdrant.address=" + address, "qdrant.index=" + d.index, "admin.address=",
	}, settings...)
	if d.cfg, err = configs.Load("", d.settings, nil); err != nil {
		t.Fatal(err)
	}
	dropIndexAfter(t, d.cfg.Qdrant)
	return d
}

// countingEncoder counts the texts of e.
type countingEncoder struct {
	embedder.Encoder
	n *atomic.Int64
}

func (c countingEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	c.n.Add(int64(len(texts)))
	return c.Encoder.Encode(ctx, texts)
}

// do runs a command and returns what it said.
func (d *desk) do(stdin string, args ...string) (code int, stdout, stderr string) {
	d.t.Helper()
	for _, s := range d.settings {
		args = append(args, "--set", s)
	}
	var out, errs bytes.Buffer
	code = run(d.t.Context(), args, &app{
		io:   stdio{strings.NewReader(stdin), &out, &errs},
		wrap: func(e embedder.Encoder) embedder.Encoder { return countingEncoder{e, &d.encoded} },
	})
	return code, out.String(), errs.String()
}

// must runs a command that has to succeed.
func (d *desk) must(stdin string, args ...string) string {
	d.t.Helper()
	code, out, errs := d.do(stdin, args...)
	if code != exitDone {
		d.t.Fatalf("%q: exit %d: %s", args, code, errs)
	}
	return out
}

// catchUp runs a worker until the end of the topic, and returns how many texts
// went through the model.
func (d *desk) catchUp() int64 {
	d.t.Helper()
	d.encoded.Store(0)
	d.must("", "run", "--set", "kafka.stop_at_end=true")
	return d.encoded.Load()
}

// points are the points of a collection, or of what an alias points to, byte
// for byte: payload, indexed_at included, and vectors.
func (d *desk) points(collection string) map[string]string {
	d.t.Helper()
	out := map[string]string{}
	for _, p := range d.scroll(collection) {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
		if err != nil {
			d.t.Fatal(err)
		}
		out[p.GetId().GetUuid()] = string(data)
	}
	return out
}

// client is Qdrant's own, for what the program does not do.
func (d *desk) client() *qdrant.Client {
	d.t.Helper()
	host, port, err := net.SplitHostPort(d.cfg.Qdrant.Address)
	if err != nil {
		d.t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		d.t.Fatal(err)
	}
	client, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: number, SkipCompatibilityCheck: true})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (d *desk) scroll(collection string) []*qdrant.RetrievedPoint {
	d.t.Helper()
	found, err := d.client().Scroll(d.t.Context(), &qdrant.ScrollPoints{
		CollectionName: collection, Limit: qdrant.PtrOf(uint32(1 << 20)), WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return found
}

func TestAReplayOfWhatIsUnchangedCostsNothingAndChangesNothing(t *testing.T) {
	d := newDesk(t)
	h := newHistory(400, 60)
	h.publish(t, d.settings, d.cfg)
	if n := d.catchUp(); n == 0 {
		t.Fatal("the first run encoded nothing")
	}
	before := d.points(d.index)

	var dry replayed
	if err := json.Unmarshal([]byte(d.must("", "replay", "--to", "earliest", "--dry-run", "-o", "json")), &dry); err != nil {
		t.Fatal(err)
	}
	if got := *dry.Total; got.ModelCalls != 0 || got.Tokens != 0 || got.Events != 400 || got.Unchanged != 400 || got.Malformed != h.malformed {
		t.Errorf("the dry run says %+v", got)
	}
	d.must("", "replay", "--to", "earliest", "--yes")
	if n := d.catchUp(); n != 0 {
		t.Errorf("the replay encoded %d texts", n)
	}
	if after := d.points(d.index); !maps.Equal(after, before) {
		t.Error("the replay changed the index")
	}

	// Control: a replay of a stretch of which one event has not been applied
	// does both, and the dry run knows it.
	d.must("", "replay", "--to", "latest", "--yes")
	d.must(`{"op":"upsert","document_id":"new","chunk_id":"c","text":"three new words","version":1}`, "publish")
	d.must("", "replay", "--to", "latest", "--yes")
	if n := d.catchUp(); n != 0 {
		t.Errorf("what was skipped was encoded: %d", n)
	}
	if err := json.Unmarshal([]byte(d.must("", "replay", "--to", "earliest", "--dry-run", "-o", "json")), &dry); err != nil {
		t.Fatal(err)
	}
	if got := *dry.Total; got.ModelCalls != 1 || got.Tokens != 3 || got.Adds != 1 || got.Unchanged != 400 {
		t.Errorf("the second dry run says %+v", got)
	}
	d.must("", "replay", "--to", "earliest", "--yes")
	if n := d.catchUp(); n != 1 {
		t.Errorf("the second replay encoded %d texts, want the one that was skipped", n)
	}
	after := d.points(d.index)
	if len(after) != len(before)+1 {
		t.Errorf("%d points after %d, want one more", len(after), len(before))
	}
	for id, p := range before {
		if after[id] != p {
			t.Errorf("point %s has changed", id)
		}
	}
}

func TestReplayRefusesWhileTheGroupHasMembers(t *testing.T) {
	d := newDesk(t, "kafka.client_id=worker-of-shift-2")
	newHistory(30, 10).publish(t, d.settings, d.cfg)
	w := startWorker(t, d.settings)
	admin := newAdmin(t, d.cfg)
	waitUntil(t, "the worker has committed everything", func() bool { return admin.lag(t) == 0 })
	code, out, errs := d.do("", "replay", "--to", "earliest", "--yes")
	if code != exitFailed || out != "" || !strings.Contains(errs, "worker-of-shift-2") || !strings.Contains(errs, "127.0.0.1") {
		t.Errorf("exit %d, %q, %q; want it to say who is there", code, out, errs)
	}
	if admin.lag(t) != 0 {
		t.Error("the group was moved")
	}
	if code, out, errs := d.do("", "replay", "--to", "earliest", "--dry-run"); code != exitDone || !strings.Contains(out, "model calls") || !strings.Contains(errs, "would be refused") {
		t.Errorf("dry run: exit %d, %q, %q", code, out, errs)
	}
	if err := w.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestReplaySaysWhatIsWrongWithATarget(t *testing.T) {
	d := newDesk(t)
	newHistory(30, 10).publish(t, d.settings, d.cfg)
	for _, c := range []struct {
		to, says string
		code     int
	}{
		{"", "--to", exitUsage}, {"soon", "want earliest", exitUsage}, {"0=99999", "holds 0 to", exitFailed}, {"9=0", "no partition 9", exitFailed},
	} {
		if code, _, errs := d.do("", "replay", "--yes", "--to", c.to); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("--to %q: exit %d, %q; want %d and %q", c.to, code, errs, c.code, c.says)
		}
	}
	// A person is asked, and may say no.
	if code, _, errs := d.do("n\n", "replay", "--to", "earliest"); code != exitFailed || !strings.Contains(errs, "[y/N]") {
		t.Errorf("no: exit %d, %q", code, errs)
	}
	if code, _, errs := d.do("", "replay", "--to", "earliest"); code != exitUsage || !strings.Contains(errs, "--yes") {
		t.Errorf("no answer: exit %d, %q", code, errs)
	}
	if code, out, errs := d.do("y\n", "replay", "--to", "0=1"); code != exitDone || !strings.Contains(out, "docs") {
		t.Errorf("yes: exit %d, %q, %q", code, out, errs)
	}
	if out := d.must("", "replay", "--to", "0=1", "--yes"); !strings.Contains(out, "there already") {
		t.Errorf("nothing to do: %q", out)
	}
	if code, _, errs := d.do("", "replay", "--to", fmt.Sprint("0=", 1), "--dry-run", "-o", "json"); code != exitDone {
		t.Errorf("a dry run without an index: exit %d, %q", code, errs)
	}
}
