//go:build cdc

package cdc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack/realservers"
	"chunktide/embedder"
	"chunktide/sink"
)

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
	l.t.Cleanup(func() { l.drop(x.cfg.Qdrant.Index) })
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

// drop removes what a worker made: the Qdrant may be somebody's own.
func (l *line) drop(index string) {
	host, port, err := net.SplitHostPort(l.qdrant)
	if err != nil {
		l.t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		l.t.Fatal(err)
	}
	client, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: number, SkipCompatibilityCheck: true})
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	names, err := client.ListCollections(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, index+"--") {
			if err := client.DeleteCollection(context.Background(), name); err != nil {
				l.t.Error(err)
			}
		}
	}
}

// row is what table and index are to agree on.
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

// level waits until each of the indexes equals the table.
func level(indexes []*index, when string) {
	for _, x := range indexes {
		x.l.t.Helper()
		x.level(when)
	}
}

// verify compares the index with the topic, as its worker's settings and more
// say, and returns what is printed.
func (x *index) verify(more ...string) (string, error) {
	x.l.t.Helper()
	args := []string{"index", "verify", "--config", deploy + "chunktide.yaml", "--sample", "0", "--show", "10000"}
	for _, s := range x.settings {
		args = append(args, "--set", s)
	}
	out, err := exec.CommandContext(x.l.t.Context(), x.l.bin, append(args, more...)...).CombinedOutput()
	return string(out), err
}

// topicEnd is how many records the topic has had.
func (l *line) topicEnd() (total int64) {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.kafka.Addr))
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(l.t.Context(), topic)
	if err != nil {
		l.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total
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
