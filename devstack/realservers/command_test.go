package realservers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/devstack/realservers"
)

// waitForState waits until the process is stopped, or is not: a signal is
// delivered some time after it was sent.
func waitForState(t *testing.T, pid int, stopped bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, fs.ErrNotExist) {
			return // this system does not show it
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(rest, "T") == stopped {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is in state %.1s", pid, rest)
		}
	}
}

func TestCommandIsStartedFrozenAndKilled(t *testing.T) {
	var c *realservers.Command
	asked := 0
	c, err := realservers.StartCommand(t.Context(), t.TempDir(), realservers.CommandOptions{
		Name: "sleeper", Bin: "/bin/sh", Args: []string{"-c", "echo $GREETING; exec sleep 600"},
		Env: []string{"GREETING=hello", "PATH=" + os.Getenv("PATH")},
		Ready: func(context.Context) error {
			if asked++; asked < 3 {
				return errors.New("not yet")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Kill() })
	if log, err := os.ReadFile(c.Log()); err != nil || string(log) != "hello\n" || asked != 3 {
		t.Errorf("log %q, %v; asked %d times", log, err, asked)
	}
	pid := c.PID()
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	waitForState(t, pid, true)
	if err := c.Thaw(); err != nil {
		t.Fatal(err)
	}
	waitForState(t, pid, false)
	if err := errors.Join(c.Freeze(), c.Kill()); err != nil {
		t.Fatal(err)
	}
	<-c.Ended()
	gone(t, pid)
	if err := c.Err(); err == nil {
		t.Error("a killed process has no error")
	}
	if err := c.Freeze(); err == nil {
		t.Error("a process that has ended was frozen")
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	alive(t, c.PID())
}

// A client that comes by a proxy is led back to the proxy; one that does not
// sees nothing of it.
func TestKafkaAdvertisesItsProxies(t *testing.T) {
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	b := realservers.RunKafka(t, realservers.KafkaOptions{Advertise: []string{proxy.Addr().String()}})
	go forward(proxy, b.Listeners[0])
	for _, seed := range []string{b.Addr, proxy.Addr().String()} {
		c, err := kgo.NewClient(kgo.SeedBrokers(seed))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		meta, err := kadm.NewClient(c).BrokerMetadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := fmt.Sprintf("%s:%d", meta.Brokers[0].Host, meta.Brokers[0].Port)
		if told != seed {
			t.Errorf("who comes by %s is told to come to %s", seed, told)
		}
	}
}

func forward(l net.Listener, target string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", target)
		if err != nil {
			_ = from.Close()
			continue
		}
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
		go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
	}
}
