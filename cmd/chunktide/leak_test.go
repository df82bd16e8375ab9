package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/devstack/qdrantd"
	"chunktide/embedder"
)

// word is in every text of the leak tests, and nowhere else.
const word = "quicksilver"

// planted has a value of its own for each secret setting, by key. One that
// needs a form has it.
func planted() map[string]string {
	out := map[string]string{}
	var walk func(t reflect.Type, at string)
	walk = func(t reflect.Type, at string) {
		for i := range t.NumField() {
			f := t.Field(i)
			name := f.Tag.Get("mapstructure")
			if !f.IsExported() || name == "" || name == "-" {
				continue
			}
			key := strings.TrimPrefix(at+"."+name, ".")
			switch {
			case f.Type == reflect.TypeFor[chunk.Secret]():
				out[key] = "planted-" + strings.NewReplacer(".", "-", "_", "-").Replace(key) + "-" + hex.EncodeToString([]byte(key))
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, key)
			}
		}
	}
	walk(reflect.TypeFor[configs.Config](), "")
	return out
}

// leaks says which of the words are in what was printed, as they are or
// encoded as logs and protocols do.
func leaks(printed string, words map[string]string) []string {
	var found []string
	for name, w := range words {
		for _, form := range []string{w, base64.StdEncoding.EncodeToString([]byte(w)), base64.RawURLEncoding.EncodeToString([]byte(w)), hex.EncodeToString([]byte(w))} {
			if strings.Contains(printed, form) {
				found = append(found, name)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// wanted is what must be nowhere: every secret, and the texts.
func wanted() map[string]string {
	words := planted()
	words["chunk text"] = word
	return words
}

// without is the environment that sets every secret but those of the keys
// that begin so.
func without(prefixes ...string) []string {
	var out []string
	for key, value := range planted() {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			continue
		}
		switch key {
		case "cache.url":
			continue // with the settings: it has an address
		case "tracing.headers":
			value = "authorization=" + value
		}
		out = append(out, configs.EnvName(key)+"="+value)
	}
	return out
}

// world is what a worker reaches: a Kafka that wants its password, a Redis
// that does not take it, and a Qdrant that refuses some points and quotes them.
type world struct {
	t        *testing.T
	kafka    *kfake.Cluster
	settings []string
	printed  map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	secrets := planted()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "worker", secrets["kafka.sasl.password"]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	redis := miniredis.RunT(t)
	redis.RequireUserAuth("worker", "another")
	refuse := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if update, ok := req.(*qdrant.UpdateBatchPoints); ok && strings.Contains(update.String(), "refused by the index") {
			return nil, status.Error(codes.InvalidArgument, "bad payload: "+update.String())
		}
		return handler(ctx, req)
	}
	index, err := qdrantd.Start(qdrantd.Options{APIKey: secrets["qdrant.api_key"], Interceptor: refuse})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(index.Close)
	return &world{t: t, kafka: kafka, printed: map[string]string{}, settings: []string{
		"kafka.brokers=" + strings.Join(kafka.ListenAddrs(), ","), "kafka.topics=chunks", "kafka.group=g", "kafka.batch.events=3",
		"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1", "kafka.create_topics.partitions=1",
		"kafka.sasl.mechanism=plain", "kafka.sasl.username=worker",
		"cache.url=redis://worker:" + secrets["cache.url"] + "@" + redis.Addr() + "/0", "cache.username=worker",
		"qdrant.address=" + index.Addr(), "qdrant.retry.initial=1ms", "qdrant.retry.max=5ms",
		"embedder.encoder=bow", "events.limits.text_bytes=400", "admin.address=127.0.0.1:0",
		// Nobody listens there: what the exporter says is printed, too.
		"tracing.endpoint=http://127.0.0.1:1", "tracing.sample_ratio=1", "log.level=debug", "console.search=true",
	}}
}

// client reaches the Kafka of the world.
func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	mechanism := plain.Auth{User: "worker", Pass: planted()["kafka.sasl.password"]}.AsMechanism()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.SASL(mechanism))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// command runs one to its end, and keeps what it printed.
func (w *world) command(name string, environ, settings []string, wrap func(embedder.Encoder) embedder.Encoder, args ...string) (code int, printed string) {
	w.t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	sync := &watched{pattern: regexp.MustCompile(`(^$)`), found: make(chan string, 1)}
	code = run(ctx, withSettings(settings, args...), &app{io: stdio{strings.NewReader(""), &out, sync}, environ: environ, wrap: wrap})
	w.printed[name] = out.String() + sync.String()
	return code, w.printed[name]
}

// events are good ones, malformed ones of many kinds, and such as the encoder
// or the index refuses; good says how many become points.
func events() (records []string, good int) {
	upsert := func(id, text string) string {
		return fmt.Sprintf(`{"op":"upsert","source":"s","document_id":"d","chunk_id":%q,"text":%q,"version":1}`, id, text)
	}
	records = []string{
		upsert("good", word+" is searchable"), upsert("good-2", "also "+word),
		upsert("encoder", word+" refused by the encoder"), upsert("panic", word+" brings the encoder down"),
		upsert("index", word+" refused by the index"),
		word + ", a line of a file that is not JSON", upsert("cut", word)[:80], upsert("long", strings.Repeat(word+" ", 100)),
		`{"op":"upsert","document_id":"d","chunk_id":"kind","text":{"` + word + `":1},"version":1}`,
		`{"op":"upsert","document_id":"d","chunk_id":"list","text":["` + word + `"],"version":1}`,
		`{"op":"upsert","document_id":"d","chunk_id":"metadata","text":"` + word + `","metadata":"` + word + `","version":1}`,
		`{"op":"upsert","document_id":"d","chunk_id":"version","text":"` + word + `","version":"x"}`,
		`{"op":"upsert","document_id":"d","chunk_id":"escape","text":"` + word + ` \x","version":1}`,
		`{"op":"upsert","document_id":"d","chunk_id":"utf","text":"` + word + " \xff\xfe" + `","version":1}`,
		`{"op":"upsert","document_id":"d","chunk_id":"twice","text":"` + word + `","text":"` + word + `","version":1} {}`,
		`{"op":"upsert","chunk_id":"nameless","text":"` + word + `","version":1}`,
		`{"payload":{"op":"c","after":{"document_id":{},"chunk_id":"x","text":"` + word + `"},"source":{}}}`,
		`{"specversion":"1.0","id":"1","type":"t","source":"s","datacontenttype":"text/plain","data":"` + word + `"}`,
		`["` + word + `"]`, `"` + word + `"`,
	}
	return records, 2
}

// quoting is an encoder that quotes what it cannot encode.
type quoting struct {
	embedder.Encoder
	fatal bool
}

func (q quoting) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	for _, text := range texts {
		switch {
		case q.fatal:
			return nil, errors.New("cannot encode " + text)
		case strings.Contains(text, "refused by the encoder"):
			return nil, chunk.Permanentf(chunk.ReasonBadVector, "cannot encode %q", text)
		case strings.Contains(text, "brings the encoder down"):
			panic(text)
		}
	}
	return q.Encoder.Encode(ctx, texts)
}

// A worker at work, while much goes wrong: what it logs, what it serves, what
// it writes into the headers of dead letters, and what the commands say.
func TestNothingLeaks(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			w := newWorld(t)
			w.settings = append(w.settings, "log.format="+format)
			w.works()
			w.reports()
			for name, printed := range w.printed {
				if found := leaks(printed, wanted()); len(found) > 0 {
					t.Errorf("%s: %q leak in\n%s", name, found, printed)
				}
				if printed == "" {
					t.Errorf("%s: nothing was printed, so nothing is proved", name)
				}
			}
		})
	}
}

// works runs the worker over the events until all of them are settled.
func (w *world) works() {
	t := w.t
	t.Helper()
	records, good := events()
	environ := without("kafka.sasl.oauth")
	// The topics are there before the worker is.
	w.command("create", environ, append(slices.Clone(w.settings), "kafka.stop_at_end=true"), nil, "run")
	producer := w.client()
	for _, value := range records {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "chunks", Key: []byte("k"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	log := &watched{pattern: regexp.MustCompile(`serving metrics and health"[, "]+address"?[=:]"?([0-9.:]+)`), found: make(chan string, 1)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan int, 1)
	go func() {
		wrap := func(e embedder.Encoder) embedder.Encoder { return quoting{Encoder: e} }
		ended <- run(ctx, withSettings(w.settings, "run"), &app{io: stdio{strings.NewReader(""), io.Discard, log}, environ: environ, wrap: wrap})
	}()
	var address string
	select {
	case address = <-log.found:
	case code := <-ended:
		t.Fatalf("the worker ended with %d: %s", code, log)
	}
	letters := w.letters(len(records) - good)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/api/snapshot", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/pprof/heap?debug=1"} {
		for _, token := range []string{planted()["admin.token"], ""} {
			w.printed[fmt.Sprintf("%s, token %v", path, token != "")] = asks(t, "http://"+address+path, token)
		}
	}
	stop()
	if code := <-ended; code != exitDone {
		t.Errorf("the worker ended with %d: %s", code, log)
	}
	w.printed["the worker's log"] = log.String()
	w.printed["the dead letters' headers"] = letters
	for name, says := range map[string]string{"the worker's log": "panicked", "/metrics, token true": "chunktide_dead_letters_total", "/readyz, token true": "ok", "/metrics, token false": "admin.token"} {
		if !strings.Contains(w.printed[name], says) {
			t.Errorf("%s does not say %q: %s", name, says, w.printed[name])
		}
	}
}

func asks(t *testing.T, url, token string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.Status, resp.Header, string(body))
}

// letters are the headers of n dead letters.
func (w *world) letters(n int) string {
	w.t.Helper()
	client := w.client(kgo.ConsumeTopics("chunks.dead-letters"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var headers strings.Builder
	for n > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("%d dead letters are missing: %v\n%s", n, err, &headers)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				fmt.Fprintf(&headers, "%s=%s\n", h.Key, h.Value)
			}
			n--
		})
	}
	return headers.String()
}

// reports runs the commands that tell how things are.
func (w *world) reports() {
	environ := without("kafka.sasl.oauth")
	for _, args := range [][]string{
		{"doctor"}, {"status"}, {"config"}, {"index", "list"}, {"index", "status"}, {"dlq", "list"}, {"dlq", "list", "--records"},
		{"dlq", "explain", "0:0"}, {"why", "s/d/good"}, {"why", "s/d/index"}, {"index", "verify"}, {"replay", "--to", "earliest", "--dry-run"},
		{"migrate", "status"}, {"cost", "observe", "--interval", "0"},
	} {
		for _, as := range []string{"text", "json"} {
			w.command(strings.Join(args, " ")+" as "+as, environ, w.settings, nil, append(args, "-o", as)...)
		}
	}
}

// The controls: what does leak is found.
func TestLeaksAreFound(t *testing.T) {
	w := newWorld(t)
	environ := without("kafka.sasl.oauth")
	w.command("create", environ, append(slices.Clone(w.settings), "kafka.stop_at_end=true"), nil, "run")
	records, _ := events()
	if err := w.client().ProduceSync(t.Context(), &kgo.Record{Topic: "chunks", Value: []byte(records[0])}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	wrap := func(e embedder.Encoder) embedder.Encoder { return quoting{e, true} }
	code, printed := w.command("quotes", environ, append(slices.Clone(w.settings), "kafka.stop_at_end=true"), wrap, "run")
	if found := leaks(printed, wanted()); code != exitFailed || !slices.Equal(found, []string{"chunk text"}) {
		t.Errorf("an encoder that quotes the text in a fatal error: exit %d, found %q in %s", code, found, printed)
	}
	for key, secret := range planted() {
		for _, printed := range []string{"x" + secret + "y", base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%q", hex.EncodeToString([]byte(secret)))} {
			if found := leaks(printed, wanted()); !slices.Equal(found, []string{key}) {
				t.Errorf("%s in %s: found %q", key, printed, found)
			}
		}
	}
}
