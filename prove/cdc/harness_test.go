//go:build cdc

package cdc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
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

// connect starts Kafka Connect with the connector, which knows of no earlier one
// and takes a snapshot.
func (l *line) connect() *realservers.Command {
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
		// The next line, which deploy/cdc has no need of.
		"heartbeat.interval.ms": "10000\nsignal.data.collection=public.signals",
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
	return c
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
