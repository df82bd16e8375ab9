//go:build cdc

package cdc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
	"chunktide/embedder"
	"chunktide/sink"
)

const (
	deploy = "../../deploy/cdc/"
	jars   = "../../.cache/cdc/3.3.1.Final/libs"
	topic  = "cdc.public.chunks"
)

// line is the way from a table to the index.
type line struct {
	t        *testing.T
	postgres *realservers.Postgres
	kafka    *realservers.Broker
	qdrant   string
	bin      string
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{t: t, postgres: realservers.RunPostgres(t), kafka: realservers.RunKafka(t, realservers.KafkaOptions{}), qdrant: os.Getenv("CHUNKTIDE_TEST_QDRANT")}
	if l.qdrant == "" {
		server, err := qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		l.qdrant = server.Addr()
	}
	l.bin = filepath.Join(t.TempDir(), "chunktide")
	if err := realservers.Build(t.Context(), l.bin, "chunktide/cmd/chunktide", ""); err != nil {
		t.Fatal(err)
	}
	if out, err := l.postgres.Psql(t.Context(), "postgres", "CREATE DATABASE app").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	table := l.postgres.Psql(t.Context(), "app")
	table.Args = append(table.Args, "-f", deploy+"table.sql")
	if out, err := table.CombinedOutput(); err != nil {
		t.Fatalf("table.sql: %v: %s", err, out)
	}
	return l
}

// sql runs statements, each a transaction, and returns what they print.
func (l *line) sql(statements ...string) string {
	l.t.Helper()
	out, err := l.postgres.Psql(l.t.Context(), "app", statements...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// session is a connection on which a transaction stays open.
type session struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func (l *line) session() *session {
	l.t.Helper()
	cmd := l.postgres.Psql(l.t.Context(), "app")
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &session{l.t, in, bufio.NewScanner(out)}
}

// do runs statements and returns the last line that they print, once all are
// done.
func (s *session) do(statements string) string {
	s.t.Helper()
	if _, err := io.WriteString(s.in, statements+"\n\\echo done\n"); err != nil {
		s.t.Fatal(err)
	}
	last := ""
	for s.out.Scan() {
		if s.out.Text() == "done" {
			return last
		}
		last = s.out.Text()
	}
	s.t.Fatalf("psql ended at: %s", statements)
	return ""
}

// properties reads a file of deploy/cdc and replaces what belongs to a machine.
func (l *line) properties(name string, replace map[string]string) string {
	l.t.Helper()
	data, err := os.ReadFile(deploy + name)
	if err != nil {
		l.t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for key, value := range replace {
		at := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, key+"=") })
		if at < 0 {
			l.t.Fatalf("%s has no %s", name, key)
		}
		lines[at] = key + "=" + value
	}
	path := filepath.Join(l.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// connect starts Kafka Connect with the connector.
func (l *line) connect() {
	l.t.Helper()
	if found, _ := filepath.Glob(jars + "/debezium-connector-postgres-*.jar"); len(found) == 0 {
		l.t.Fatalf("the jars are not in %s: run make setup-cdc", jars)
	}
	libs, err := filepath.Abs(jars)
	if err != nil {
		l.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	rest := "http://" + listener.Addr().String()
	listener.Close()
	dir := l.t.TempDir()
	connect := l.properties("connect.properties", map[string]string{
		"bootstrap.servers": l.kafka.Addr, "listeners": rest, "offset.storage.file.filename": filepath.Join(dir, "offsets"),
	})
	connector := l.properties("debezium.properties", map[string]string{
		"database.hostname": "127.0.0.1", "database.port": fmt.Sprint(l.postgres.Port),
		"topic.creation.default.partitions": "3", "topic.creation.default.replication.factor": "1",
	})
	c, err := realservers.StartCommand(l.t.Context(), dir, realservers.CommandOptions{
		Name: "connect", Bin: "java", Env: append(os.Environ(), "CHUNKS_DB_PASSWORD=unused"),
		Args: []string{
			"-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-cp", filepath.Join(libs, "*"), "org.apache.kafka.connect.cli.ConnectStandalone", connect, connector,
		},
		Ready: func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, rest+"/connectors/chunks/status", nil)
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return errors.New("the connector is not there yet")
			}
			return nil
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = c.Kill()
		if l.t.Failed() {
			l.t.Logf("Kafka Connect:\n%s", c.LogTail())
		}
	})
}

// index is what a worker of its own group fills.
type index struct {
	l        *line
	settings []string
	cfg      configs.Config
	reader   *sink.Reader
}

// work starts a worker with deploy/cdc/chunktide.yaml under a name of its own.
func (l *line) work(name string, more ...string) *index {
	l.t.Helper()
	x := &index{l: l, settings: append([]string{
		"kafka.brokers=" + l.kafka.Addr, "kafka.group=" + name, "kafka.dead_letter_topic=" + name + ".dead-letters",
		"kafka.create_topics.partitions=3", "kafka.create_topics.replication=1",
		"qdrant.address=" + l.qdrant, fmt.Sprintf("qdrant.index=%s-%d", name, time.Now().UnixNano()),
		"embedder.encoder=bow", "admin.address=",
	}, more...)}
	var err error
	if x.cfg, err = configs.Load(deploy+"chunktide.yaml", x.settings, nil); err != nil {
		l.t.Fatal(err)
	}
	args := []string{"run", "--config", deploy + "chunktide.yaml"}
	for _, s := range x.settings {
		args = append(args, "--set", s)
	}
	config, err := filepath.Abs(args[2])
	if err != nil {
		l.t.Fatal(err)
	}
	args[2] = config
	c, err := realservers.StartCommand(l.t.Context(), l.t.TempDir(), realservers.CommandOptions{Name: name, Bin: l.bin, Args: args})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			l.t.Error(err)
		}
		if l.t.Failed() {
			l.t.Logf("worker %s:\n%s", name, c.LogTail())
		}
	})
	pin := worker.ModelPin(embedder.NewBow("", nil).Recipe())
	l.wait("a worker has made the index", func() bool {
		x.reader, err = sink.OpenReader(l.t.Context(), x.cfg.Qdrant, pin, slog.New(slog.DiscardHandler), nil)
		return err == nil
	})
	l.t.Cleanup(func() { _ = x.reader.Close() })
	return x
}

// chunk is what table and index are to agree on.
type row struct {
	Position int64
	Text     string
	Metadata string
}

// holds returns what the index holds, by document and chunk.
func (x *index) holds() map[string]row {
	x.l.t.Helper()
	rows := map[string]row{}
	err := x.reader.Scroll(x.l.t.Context(), func(r sink.Record) error {
		if !r.Tombstone {
			metadata, err := json.Marshal(r.Metadata)
			if err != nil {
				return err
			}
			rows[r.DocumentID+"/"+r.ChunkID] = row{r.Position, r.Text, string(metadata)}
		}
		return nil
	})
	if err != nil {
		x.l.t.Fatal(err)
	}
	return rows
}

// table returns what the table holds that has a text.
func (l *line) table() map[string]row {
	l.t.Helper()
	rows := map[string]row{}
	out := l.sql(`SELECT json_build_array(document_id, chunk_id, position, text, metadata) FROM chunks WHERE text ~ '\S'`)
	for line := range strings.Lines(out) {
		var document, chunk string
		var r row
		var metadata map[string]any
		if err := json.Unmarshal([]byte(line), &[]any{&document, &chunk, &r.Position, &r.Text, &metadata}); err != nil {
			l.t.Fatal(err)
		}
		encoded, _ := json.Marshal(metadata)
		r.Metadata = string(encoded)
		rows[document+"/"+chunk] = r
	}
	return rows
}

// difference names some chunks in which table and index differ.
func difference(table, index map[string]row) (names []string) {
	for name, r := range table {
		if index[name] != r {
			names = append(names, name)
		}
	}
	for name := range index {
		if _, ok := table[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// level waits until the index equals the table.
func (x *index) level(when string) {
	x.l.t.Helper()
	table := x.l.table()
	var differs []string
	x.l.wait("the index equals the table "+when, func() bool {
		differs = difference(table, x.holds())
		return len(differs) == 0
	}, func() string { return fmt.Sprintf("%d chunks differ: %.10q", len(differs), differs) })
}

// done waits until the group has committed all that is in the topic.
func (x *index) done() {
	x.l.t.Helper()
	admin := kadm.NewClient(x.client())
	x.l.wait("group "+x.cfg.Kafka.Group+" has read everything", func() bool {
		lags, err := admin.Lag(x.l.t.Context(), x.cfg.Kafka.Group)
		if err != nil {
			return false
		}
		lag := lags[x.cfg.Kafka.Group]
		return lag.Error() == nil && lag.Lag.Total() == 0
	})
}

// reasons waits for so many dead letters, and counts all there are by reason.
func (x *index) reasons(least int64) map[string]int {
	x.l.t.Helper()
	letters := x.cfg.Kafka.DeadLetters()
	admin := kadm.NewClient(x.client())
	var total int64
	x.l.wait("the dead letters are there", func() bool {
		ends, err := admin.ListEndOffsets(x.l.t.Context(), letters)
		if err != nil {
			return false
		}
		total = 0
		ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
		return total >= least
	})
	client := x.client(kgo.ConsumeTopics(letters), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	counts := map[string]int{}
	for total > 0 {
		fetches := client.PollFetches(x.l.t.Context())
		if err := fetches.Err0(); err != nil {
			x.l.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			total--
			for _, h := range r.Headers {
				if h.Key == consumer.HeaderReason {
					counts[string(h.Value)]++
				}
			}
		})
	}
	return counts
}

func (x *index) client(more ...kgo.Opt) *kgo.Client {
	x.l.t.Helper()
	options, err := consumer.ClientOptions(x.cfg.Kafka)
	if err != nil {
		x.l.t.Fatal(err)
	}
	client, err := kgo.NewClient(append(options, more...)...)
	if err != nil {
		x.l.t.Fatal(err)
	}
	x.l.t.Cleanup(client.Close)
	return client
}

// wait looks again and again until something outside this process holds.
func (l *line) wait(what string, holds func() bool, why ...func() string) {
	l.t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); <-look.C {
		if time.Now().After(deadline) {
			said := ""
			for _, w := range why {
				said += ": " + w()
			}
			l.t.Fatalf("waited too long until %s%s", what, said)
		}
	}
}
