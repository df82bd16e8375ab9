package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEditChangesNothingElse(t *testing.T) {
	for name, tt := range map[string]struct{ in, out string }{
		"in place, with comments": {
			"# mine\nkafka:\n  batch:            # a micro-batch\n    tokens: 16384   # many\n    events: 256\n\n  group: g\n",
			"# mine\nkafka:\n  batch:            # a micro-batch\n    tokens: 4096   # many\n    events: 256\n\n  group: g\n",
		},
		"a new key below its section": {
			"kafka:\n    # the topics\n    topics: [a]\n    batch:\n        # how long\n        linger: 1s\n",
			"kafka:\n    # the topics\n    topics: [a]\n    batch:\n        tokens: 4096\n        # how long\n        linger: 1s\n",
		},
		"a new part of a section": {
			"kafka:\n  topics: [a]   # Ärger\nqdrant: {index: x}",
			"kafka:\n  batch:\n    tokens: 4096\n  topics: [a]   # Ärger\nqdrant: {index: x}",
		},
		"a new section at the end, without a last newline": {"qdrant:\n  index: x", "qdrant:\n  index: x\nkafka:\n  batch:\n    tokens: 4096\n"},
		"flow style":            {"kafka: {batch: {linger: 1s}, group: ü}\n", "kafka: {batch: {tokens: 4096, linger: 1s}, group: ü}\n"},
		"flow style, replaced":  {"kafka: {group: ü, batch: {tokens: 1}}\n", "kafka: {group: ü, batch: {tokens: 4096}}\n"},
		"flow style, new part":  {"kafka: {group: g}\n", "kafka: {batch: {tokens: 4096}, group: g}\n"},
		"an empty section":      {"kafka:   # soon\nqdrant: {index: x}\n", "kafka:   # soon\n  batch:\n    tokens: 4096\nqdrant: {index: x}\n"},
		"an empty value":        {"kafka:\n  batch:\n    tokens:   # none\n", "kafka:\n  batch:\n    tokens: 4096   # none\n"},
		"over a merge":          {"x: &b {tokens: 1}\nkafka:\n  batch:\n    <<: *b\n", "x: &b {tokens: 1}\nkafka:\n  batch:\n    tokens: 4096\n    <<: *b\n"},
		"an empty file":         {"", "kafka:\n  batch:\n    tokens: 4096\n"},
		"comments only":         {"# nothing yet\n", "# nothing yet\nkafka:\n  batch:\n    tokens: 4096\n"},
		"another system's ends": {"kafka:\r\n  group: g\r\n", "kafka:\r\n  batch:\r\n    tokens: 4096\r\n  group: g\r\n"},
	} {
		got, err := Edit([]byte(tt.in), map[string]int{"kafka.batch.tokens": 4096})
		if err != nil || string(got) != tt.out {
			t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, tt.out)
		}
	}
}

// The whole reference, several keys at once: only their lines differ.
func TestEditTheReference(t *testing.T) {
	data, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Edit(data, map[string]int{"embedder.threads": 3, "embedder.run_tokens": 1024, "kafka.batch.tokens": 4096, "kafka.batch.events": 80})
	if err != nil {
		t.Fatal(err)
	}
	before, after := strings.Split(string(data), "\n"), strings.Split(string(out), "\n")
	differ := 0
	for i := range before {
		if before[i] != after[i] {
			differ++
		}
	}
	if len(before) != len(after) || differ != 4 {
		t.Errorf("%d lines differ, and there are %d instead of %d", differ, len(after), len(before))
	}
	cfg, err := Load(write(t, string(out)), nil, nil)
	if err != nil || cfg.Embedder.Threads != 3 || cfg.Embedder.RunTokens != 1024 || cfg.Kafka.Batch.Tokens != 4096 || cfg.Kafka.Batch.Events != 80 {
		t.Errorf("%v: %+v", err, cfg.Kafka.Batch)
	}
}

func TestEditRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for name, in := range map[string]string{
		"no YAML":         "kafka: [",
		"a list":          "kafka: [1]\n",
		"an alias":        "x: &b {tokens: 1}\nkafka: {batch: *b}\n",
		"an anchor":       "kafka:\n  batch:\n    tokens: &n 1\nother: *n\n",
		"quotes":          "kafka:\n  batch:\n    tokens: \"1\"\n",
		"an empty {}":     "kafka: {}\n",
		"a value":         "kafka: 3\n",
		"null, spelt out": "kafka: null\n",
		"two documents":   "qdrant: {index: x}\n---\nkafka: {group: g}\n",
	} {
		if out, err := Edit([]byte(in), map[string]int{"kafka.batch.tokens": 4096}); err == nil || out != nil {
			t.Errorf("%s was edited to %q", name, out)
		} else if !errors.Is(err, ErrEdit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEditFileKeepsTheFile(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "link.yaml")
	if err := os.WriteFile(real, []byte("kafka: {group: g}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.yaml", link); err != nil {
		t.Fatal(err)
	}
	if err := EditFile(link, map[string]int{"embedder.threads": 3}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	info, err = os.Stat(real)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v: %v", info.Mode(), err)
	}
	if data, _ := os.ReadFile(real); string(data) != "kafka: {group: g}\nembedder:\n  threads: 3\n" {
		t.Errorf("%q", data)
	}
	if err := EditFile(filepath.Join(dir, "new.yaml"), map[string]int{"embedder.threads": 3}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(real, []byte("kafka: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := EditFile(real, map[string]int{"embedder.threads": 3}); err == nil || !strings.Contains(err.Error(), real) {
		t.Errorf("%v does not name the file", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("%d files, want 3: %v", len(left), err)
	}
}
