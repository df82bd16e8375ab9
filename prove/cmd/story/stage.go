package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"chunktide/devstack"
	"chunktide/devstack/realservers"
)

const (
	topicName  = "chunks"
	indexName  = "docs"
	partitions = 6
)

// story is the servers, the settings, and what is going on.
type story struct {
	dir, bin string
	chunks   int
	stack    *devstack.Stack
	old, new string // files of settings
	serving  string // host:port of the encoder service

	live    *liveEdits
	readers *liveSearch
	running []*realservers.Command
	began   time.Time
}

func newStory(ctx context.Context, dir, bin string, chunks int) (s *story, err error) {
	s = &story{dir: dir, bin: bin, chunks: chunks, began: time.Now()}
	if s.stack, err = devstack.Start(ctx, devstack.Options{Topics: map[string]int32{topicName: partitions}}); err != nil {
		return nil, err
	}
	if s.serving, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	s.old, s.new = filepath.Join(dir, "old.yaml"), filepath.Join(dir, "new.yaml")
	// Another prefix is another recipe: all vectors differ.
	for file, prefix := range map[string][2]string{s.old: {"", "passage: "}, s.new: {"passage: ", ""}} {
		settings := fmt.Sprintf(`kafka: {brokers: [%q], topics: [%s], group: docs, create_topics: {enabled: true, replication: 1}}
events: {default_source: go}
cache: {url: %q}
qdrant: {address: %q, index: %s}
embedder: {prefix: %q}
serve: {address: %q, alias_ttl: 0s, models: [{prefix: %q}]}
admin: {address: ""}
log: {level: warn}
`, s.stack.KafkaBrokers[0], topicName, s.stack.RedisURL, s.stack.QdrantAddr, indexName, prefix[0], s.serving, prefix[1])
		if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *story) close() {
	if s.live != nil {
		_, _ = s.live.stop()
	}
	if s.readers != nil {
		_ = s.readers.stop()
	}
	for _, c := range s.running {
		_ = c.Kill()
	}
	_ = s.stack.Close()
}

func (s *story) say(format string, args ...any) {
	fmt.Printf("\n# "+format+"\n", args...)
}

// try runs a command as a person would, shows it with what it prints, and
// returns whether it succeeded.
func (s *story) try(ctx context.Context, args ...string) (ok bool, err error) {
	fmt.Printf("\n$ chunktide %s\n", s.shown(args))
	began := time.Now()
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir = s.dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said // one writer: they are written to in turn
	failed := cmd.Run()
	text := strings.ReplaceAll(strings.TrimRight(said.String(), "\n"), s.dir+"/", "")
	if text != "" {
		fmt.Println(text)
	}
	if took := time.Since(began); took > 3*time.Second {
		fmt.Printf("(%.0f s)\n", took.Seconds())
	}
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		return false, failed
	}
	return failed == nil, nil
}

// must is try for a command that has to succeed.
func (s *story) must(ctx context.Context, args ...string) error {
	ok, err := s.try(ctx, args...)
	if err == nil && !ok {
		err = fmt.Errorf("chunktide %s failed", s.shown(args))
	}
	return err
}

// ask runs a command quietly and reads its JSON.
func (s *story) ask(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, s.bin, append(args, "-o", "json")...)
	cmd.Dir = s.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("chunktide %s: %w: %s", s.shown(args), err, stderr.String())
	}
	return json.Unmarshal(out, into)
}

func (s *story) shown(args []string) string {
	return strings.ReplaceAll(strings.Join(args, " "), s.dir+"/", "")
}

// start runs a command in the background.
func (s *story) start(ctx context.Context, name string, args ...string) (*realservers.Command, error) {
	fmt.Printf("\n$ chunktide %s &\n", s.shown(args))
	c, err := realservers.StartCommand(ctx, s.dir, realservers.CommandOptions{Name: name, Bin: s.bin, Args: args})
	if err == nil {
		s.running = append(s.running, c)
	}
	return c, err
}

// await asks until something is so.
func (s *story) await(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		}
	}
}

// healthy asks the encoder service once.
func (s *story) healthy(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.serving+"/health", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, ctx.Err()
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}
