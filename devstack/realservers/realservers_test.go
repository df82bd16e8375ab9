package realservers_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/devstack/realservers"
)

// gone fails the test if the process exists. Its parent has waited for it, so
// it is no zombie either.
func gone(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("no process id")
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there (%v)", pid, err)
	}
}

func alive(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("process %d does not run: %v", pid, err)
	}
}

func client(t *testing.T, b *realservers.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr), kgo.DefaultProduceTopic("things")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// consume reads n records of the topic from its start.
func consume(t *testing.T, b *realservers.Broker, n int) (values []string) {
	t.Helper()
	c := client(t, b, kgo.ConsumeTopics("things"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(values) < n {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records: %v", len(values), n, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestKafkaServesAndKeepsItsData(t *testing.T) {
	libs := realservers.RequireKafka(t)
	began := time.Now()
	b, err := realservers.StartKafka(t.Context(), t.TempDir(), libs, realservers.KafkaOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Kill(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("start: %v", time.Since(began).Round(time.Millisecond))
	c := client(t, b)
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, nil, "things"); err != nil {
		t.Fatal(err)
	}
	produce := func(value string) {
		t.Helper()
		if err := c.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce("before")
	if got := consume(t, b, 1); got[0] != "before" {
		t.Errorf("read %q", got)
	}
	for _, end := range []struct {
		how string
		do  func() error
	}{{"kill", b.Kill}, {"stop", b.Stop}} {
		pid := b.PID()
		began = time.Now()
		if err := end.do(); err != nil {
			t.Fatalf("%s: %v", end.how, err)
		}
		ended := time.Since(began).Round(time.Millisecond)
		gone(t, pid)
		if b.PID() != 0 {
			t.Errorf("PID is %d after the end", b.PID())
		}
		began = time.Now()
		if err := b.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v, start again: %v", end.how, ended, time.Since(began).Round(time.Millisecond))
		alive(t, b.PID())
		produce("after " + end.how)
	}
	if got := strings.Join(consume(t, b, 3), ", "); got != "before, after kill, after stop" {
		t.Errorf("read %q", got)
	}
	pid := b.PID()
	if err := errors.Join(b.Stop(), b.Stop(), b.Kill()); err != nil {
		t.Error("ending twice:", err)
	}
	gone(t, pid)
}

func TestRedisServesAndComesBackEmpty(t *testing.T) {
	began := time.Now()
	s := realservers.RunRedis(t, realservers.RedisOptions{Args: []string{"--maxmemory", "8mb"}})
	t.Logf("start: %v", time.Since(began).Round(time.Millisecond))
	for _, end := range []func() error{s.Kill, s.Stop} {
		pid := s.PID()
		alive(t, pid)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		gone(t, pid)
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := s.PID()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal("restart while it runs:", err)
	}
	gone(t, first)
}

func TestStartErrorsSayWhatToDo(t *testing.T) {
	realservers.RequireRedis(t)
	t.Run("jars", func(t *testing.T) {
		realservers.RequireKafka(t)
		_, err := realservers.StartKafka(t.Context(), t.TempDir(), t.TempDir(), realservers.KafkaOptions{})
		if err == nil || !strings.Contains(err.Error(), "make setup-real") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("java", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("JAVA_HOME", "")
		_, err := realservers.StartKafka(t.Context(), t.TempDir(), t.TempDir(), realservers.KafkaOptions{})
		if err == nil || !strings.Contains(err.Error(), "install Java 17") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("bad property", func(t *testing.T) {
		libs := realservers.RequireKafka(t)
		_, err := realservers.StartKafka(t.Context(), t.TempDir(), libs, realservers.KafkaOptions{
			Properties: map[string]string{"node.id": "minus one"},
		})
		if err == nil || !strings.Contains(err.Error(), "minus one") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("bad argument", func(t *testing.T) {
		dir := t.TempDir()
		_, err := realservers.StartRedis(t.Context(), dir, realservers.RedisOptions{Args: []string{"--no-such-setting", "1"}})
		if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
			t.Errorf("error: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "redis-server.log")); err != nil {
			t.Error("no log:", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s, err := realservers.StartRedis(ctx, t.TempDir(), realservers.RedisOptions{})
		if err == nil {
			t.Errorf("process %d was started", s.PID())
		}
	})
}
