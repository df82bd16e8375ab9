package realservers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaOptions change what [StartKafka] starts; the zero value suits a test.
type KafkaOptions struct {
	// Properties are added to server.properties, or replace what stands there.
	Properties map[string]string
	// Heap is Java's -Xmx; "512m" by default.
	Heap string
	// Advertise are addresses of proxies, host:port. For each the broker opens a
	// listener of its own, see [Broker.Listeners], and tells who comes by that
	// to come back by the proxy.
	Advertise []string
}

// Broker is a Kafka cluster of one node, in KRaft mode. Its methods may be
// called from any goroutine.
type Broker struct {
	// Addr is host:port to bootstrap from, the same after a restart.
	Addr string
	// Listeners are where the proxies of [KafkaOptions] have to connect to.
	Listeners []string
	clusterID string
	process   *process
}

// StartKafka formats a new log folder under dir and starts a broker on it. It
// returns when the broker answers, after some seconds. Topics are not created
// by themselves, groups form without a delay, and the internal topics have one
// partition each. libsDir is where the jars are; see [RequireKafka].
func StartKafka(ctx context.Context, dir, libsDir string, opts KafkaOptions) (*Broker, error) {
	java, err := findJava()
	if err != nil {
		return nil, err
	}
	if err := checkLibs(libsDir); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	if libsDir, err = filepath.Abs(libsDir); err != nil {
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	for attempt := 1; ; attempt++ {
		b, err := startKafka(ctx, dir, java, libsDir, opts)
		if !portTaken(err) || attempt == startAttempts {
			return b, err
		}
		if err := os.RemoveAll(filepath.Join(dir, "kafka-data")); err != nil {
			return nil, fmt.Errorf("start kafka: %w", err)
		}
	}
}

func startKafka(ctx context.Context, dir, java, libsDir string, opts KafkaOptions) (*Broker, error) {
	ports, err := freePorts(2 + len(opts.Advertise))
	if err != nil {
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	listeners := make([]string, len(opts.Advertise))
	for i, port := range ports[2:] {
		listeners[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	properties := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(properties, serverProperties(dir, ports[0], ports[1], listeners, opts), 0o600); err != nil {
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	heap := opts.Heap
	if heap == "" {
		heap = "512m"
	}
	jvm := func(heap string, args ...string) []string {
		return append([]string{
			"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
			"-cp", filepath.Join(libsDir, "*"),
		}, args...)
	}
	clusterID := newClusterID()
	format := exec.CommandContext(ctx, java, jvm("128m", "kafka.tools.StorageTool", "format",
		"--cluster-id", clusterID, "--config", properties)...)
	format.Dir = dir
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format the storage of kafka: %w: %s", err, explain(string(out)))
	}
	b := &Broker{
		Addr:      fmt.Sprintf("127.0.0.1:%d", ports[0]),
		Listeners: listeners,
		clusterID: clusterID,
		process:   &process{name: "kafka", bin: java, args: jvm(heap, "kafka.Kafka", properties), dir: dir},
	}
	if err := b.process.start(ctx, b.ready); err != nil {
		return nil, err
	}
	return b, nil
}

// explain adds what to do about the one failure that everybody meets.
func explain(output string) string {
	if strings.Contains(output, "UnsupportedClassVersionError") {
		return "Kafka 4 needs Java 17 or newer; an older one was found first on the PATH or in JAVA_HOME"
	}
	return output
}

// ready asks for the cluster's metadata. A broker appears in it when it is
// registered and unfenced, so that topics can be created on it.
func (b *Broker) ready(ctx context.Context, _ int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RequestRetries(0))
	if err != nil {
		return fmt.Errorf("ask kafka for its metadata: %w", err)
	}
	defer client.Close()
	meta, err := kadm.NewClient(client).BrokerMetadata(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("ask kafka for its metadata: %w", err)
	case meta.Cluster != b.clusterID:
		return errors.New("another Kafka has the port")
	case len(meta.Brokers) == 0:
		return errors.New("the broker is not registered yet")
	}
	return nil
}

// PID is the broker's process id, 0 while it does not run.
func (b *Broker) PID() int { return b.process.pid() }

// Kill ends the broker as a crash would (SIGKILL) and returns when it is gone.
func (b *Broker) Kill() error { return b.process.kill() }

// Stop ends the broker in order. Stopping a broker that has ended is no error.
func (b *Broker) Stop() error { return b.process.stop() }

// Restart starts the broker again on its data and its address, after stopping
// it if it still runs, and returns when it answers.
func (b *Broker) Restart(ctx context.Context) error {
	if err := b.Stop(); err != nil {
		return err
	}
	return b.process.start(ctx, b.ready)
}

// newClusterID is a random UUID as Kafka writes it: base64url without padding.
func newClusterID() string {
	var id [16]byte
	for {
		_, _ = rand.Read(id[:]) // never fails
		// Like Kafka's own, it does not begin with what looks like an option.
		if s := base64.RawURLEncoding.EncodeToString(id[:]); s[0] != '-' {
			return s
		}
	}
}

// serverProperties is a combined broker and controller in the least room.
func serverProperties(dir string, port, controllerPort int, proxied []string, opts KafkaOptions) []byte {
	listener := fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", port)
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       fmt.Sprintf("1@127.0.0.1:%d", controllerPort),
		"listeners":                      fmt.Sprintf("%s,CONTROLLER://127.0.0.1:%d", listener, controllerPort),
		"advertised.listeners":           listener,
		"controller.listener.names":      "CONTROLLER",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       filepath.ToSlash(filepath.Join(dir, "kafka-data")),
		"auto.create.topics.enable":      "false",

		"default.replication.factor":                       "1",
		"min.insync.replicas":                              "1",
		"offsets.topic.replication.factor":                 "1",
		"offsets.topic.num.partitions":                     "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"group.min.session.timeout.ms":                     "1000",
		"group.consumer.min.session.timeout.ms":            "1000",
		"group.consumer.min.heartbeat.interval.ms":         "200",
		"group.consumer.heartbeat.interval.ms":             "1000",
		"log.cleaner.dedupe.buffer.size":                   "4194304",
		"num.network.threads":                              "2",
		"num.io.threads":                                   "4",
		"broker.heartbeat.interval.ms":                     "500",
		"broker.session.timeout.ms":                        "3000",
		"controller.quorum.election.timeout.ms":            "200",
	}
	// What a broker advertises depends on the listener that it is asked by.
	for i, address := range proxied {
		p["listeners"] += fmt.Sprintf(",PROXY%d://%s", i, address)
		p["advertised.listeners"] += fmt.Sprintf(",PROXY%d://%s", i, opts.Advertise[i])
		p["listener.security.protocol.map"] += fmt.Sprintf(",PROXY%d:PLAINTEXT", i)
	}
	maps.Copy(p, opts.Properties)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", key, p[key])
	}
	return []byte(b.String())
}

func findJava() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java := filepath.Join(home, "bin", "java")
		if _, err := os.Stat(java); err == nil {
			return java, nil
		}
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("java was not found on the PATH or in JAVA_HOME: " +
			"install Java 17 or newer (Debian and Ubuntu: apt-get install openjdk-17-jre-headless)")
	}
	return java, nil
}

func checkLibs(dir string) error {
	if jars, _ := filepath.Glob(filepath.Join(dir, "kafka_2.13-*.jar")); len(jars) == 0 {
		return fmt.Errorf("the Kafka jars are not in %s: run make setup-real", dir)
	}
	return nil
}
