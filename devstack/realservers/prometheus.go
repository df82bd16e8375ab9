package realservers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// RequirePromtool is [RequireKafka] for promtool, and returns its path.
func RequirePromtool(t testing.TB) string { return requireProgram(t, "promtool") }

func requireProgram(t testing.TB, name string) string {
	t.Helper()
	skipUnwanted(t)
	bin, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s (Debian and Ubuntu: apt-get install prometheus; CHUNKTIDE_TEST_REAL=0 leaves such tests out): %v", name, err)
	}
	return bin
}

// RunPrometheus starts a Prometheus with the settings of config, a YAML text,
// for the test and kills it at the end. Files that config names lie in dir or
// are absolute. It returns the URL at which it is ready.
func RunPrometheus(t testing.TB, dir, config string) (url string) {
	t.Helper()
	bin := requireProgram(t, "prometheus")
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; ; attempt++ {
		p, url, err := startPrometheus(t.Context(), bin, dir)
		if err == nil {
			t.Cleanup(func() { endWithTest(t, p) })
			return url
		}
		if !portTaken(err) || attempt == startAttempts {
			t.Fatal(err)
		}
	}
}

func startPrometheus(ctx context.Context, bin, dir string) (*process, string, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, "", fmt.Errorf("start prometheus: %w", err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	url := "http://" + address
	p := &process{name: "prometheus", bin: bin, dir: dir, args: []string{
		"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + address,
	}}
	// A stranger on the port is none: Prometheus ends if it cannot listen.
	err = p.start(ctx, func(ctx context.Context, _ int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/-/ready", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return p, url, err
}
