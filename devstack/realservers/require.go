package realservers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// KafkaVersion is the version that make setup-real fetches.
const KafkaVersion = "4.1.0"

// RequireKafka returns the folder of the Kafka jars, for [StartKafka]. It skips
// the test in -short mode or with CHUNKTIDE_TEST_REAL=0, and fails it where Java
// or the jars are missing: a test that is left out unnoticed proves nothing.
func RequireKafka(t testing.TB) (libsDir string) {
	t.Helper()
	skipUnwanted(t)
	libsDir, err := KafkaLibs()
	if err != nil {
		t.Fatalf("this test needs a real Kafka broker (CHUNKTIDE_TEST_REAL=0 leaves such tests out): %v", err)
	}
	return libsDir
}

// RequireRedis is [RequireKafka] for redis-server.
func RequireRedis(t testing.TB) {
	t.Helper()
	skipUnwanted(t)
	if _, err := findRedis(); err != nil {
		t.Fatalf("this test needs a real Redis server (CHUNKTIDE_TEST_REAL=0 leaves such tests out): %v", err)
	}
}

func skipUnwanted(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the tests against real servers")
	}
	if os.Getenv("CHUNKTIDE_TEST_REAL") == "0" {
		t.Skip("CHUNKTIDE_TEST_REAL=0 leaves out the tests against real servers")
	}
}

// RunKafka requires Kafka, starts a broker for the test and kills it at the
// end. Of a test that failed it logs the end of the broker's log.
func RunKafka(t testing.TB, opts KafkaOptions) *Broker {
	t.Helper()
	libs := RequireKafka(t)
	b, err := StartKafka(t.Context(), t.TempDir(), libs, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endWithTest(t, b.process) })
	return b
}

// RunRedis is [RunKafka] for redis-server.
func RunRedis(t testing.TB, opts RedisOptions) *RedisServer {
	t.Helper()
	RequireRedis(t)
	s, err := StartRedis(t.Context(), t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endWithTest(t, s.process) })
	return s
}

// endWithTest kills: what the server might still want to write goes with the
// test's folder.
func endWithTest(t testing.TB, p *process) {
	t.Helper()
	if err := p.kill(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the log of %s ends with:\n%s", p.name, p.logTail())
	}
}

// KafkaLibs is [RequireKafka] for a program: the folder of the jars, or an
// error that says what is missing.
func KafkaLibs() (libsDir string, err error) {
	if libsDir, err = findLibs(); err != nil {
		return "", err
	}
	_, err = findJava()
	return libsDir, err
}

// findLibs looks for the jars in the .cache of the module that we run in.
func findLibs() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			libs := filepath.Join(dir, ".cache", "kafka", KafkaVersion, "libs")
			return libs, checkLibs(libs)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory, so no .cache/kafka either")
		}
		dir = parent
	}
}
