package realservers_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chunktide/devstack/realservers"
)

const childDir = "REALSERVERS_TEST_CHILD_DIR"

// TestMain can be a child that starts a server, says which, and waits to be
// killed.
func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := realservers.StartRedis(context.Background(), dir, realservers.RedisOptions{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.PID())
	select {}
}

// A test process that dies without a chance to clean up leaves no server.
func TestServerDiesWithItsTest(t *testing.T) {
	realservers.RequireRedis(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		_ = child.Process.Kill()
		t.Fatalf("the child says %q", line)
	}
	alive(t, pid)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for running(pid) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("redis-server %d outlives its test by 10 s", pid)
		}
		time.Sleep(5 * time.Millisecond) // a stranger's child cannot be waited for
	}
}

// running is false also for a zombie: who adopts the orphan may never wait for
// it.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
