package consumer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func valid() Config {
	cfg := DefaultConfig()
	cfg.Topics, cfg.Group = []string{"docs", "more"}, "workers"
	return cfg
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := valid().Validate(); err != nil {
		t.Fatalf("the defaults with topics and a group: %v", err)
	}
	tests := map[string]func(*Config){
		"brokers: give":               func(c *Config) { c.Brokers = nil },
		"brokers: \"host\"":           func(c *Config) { c.Brokers = []string{"host"} },
		"topics: give":                func(c *Config) { c.Topics = nil },
		"topics: a name":              func(c *Config) { c.Topics = []string{""} },
		"dead_letter_topic:":          func(c *Config) { c.DeadLetterTopic = "more" },
		"group:":                      func(c *Config) { c.Group = "" },
		"balancer: \"x\"":             func(c *Config) { c.Balancer = "x" },
		"balancer: next_gen":          func(c *Config) { c.Balancer, c.NextGen = "roundrobin", true },
		"session_timeout:":            func(c *Config) { c.SessionTimeout = 0 },
		"heartbeat:":                  func(c *Config) { c.Heartbeat = 16 * time.Second },
		"rebalance_timeout:":          func(c *Config) { c.RebalanceTimeout = 0 },
		"isolation:":                  func(c *Config) { c.Isolation = "snapshot" },
		"start:":                      func(c *Config) { c.Start = "yesterday" },
		"fetch_max_bytes:":            func(c *Config) { c.FetchMaxBytes = 0 },
		"fetch_max_wait:":             func(c *Config) { c.FetchMaxWait = 0 },
		"decompress_max_bytes:":       func(c *Config) { c.DecompressMaxBytes = -1 },
		"batch.tokens:":               func(c *Config) { c.Batch.Tokens = 0 },
		"batch.events:":               func(c *Config) { c.Batch.Events = 0 },
		"batch.bytes:":                func(c *Config) { c.Batch.Bytes = 0 },
		"batch.linger:":               func(c *Config) { c.Batch.Linger, c.Batch.IdleLinger = 0, 0 },
		"batch.idle_linger:":          func(c *Config) { c.Batch.IdleLinger = time.Second },
		"buffer_bytes:":               func(c *Config) { c.BufferBytes = 1 },
		"dead_letter_max_bytes:":      func(c *Config) { c.DeadLetterMaxBytes = 100 },
		"create_topics.partitions:":   func(c *Config) { c.CreateTopics = CreateTopics{Enabled: true, Replication: 1} },
		"create_topics.replication:":  func(c *Config) { c.CreateTopics = CreateTopics{Enabled: true, Partitions: 1} },
		"sasl.mechanism: \"gssapi\"":  func(c *Config) { c.SASL = SASL{Mechanism: "gssapi", Username: "u", Password: "p"} },
		"sasl.mechanism: is needed":   func(c *Config) { c.SASL = SASL{Username: "u"} },
		"sasl.username:":              func(c *Config) { c.SASL = SASL{Mechanism: "plain", Password: "p"} },
		"sasl.password:":              func(c *Config) { c.SASL = SASL{Mechanism: "plain", Username: "u"} },
		"tls.enabled:":                func(c *Config) { c.TLS.CAFile = "ca.pem" },
		"tls.cert_file, tls.key_file": func(c *Config) { c.TLS = TLS{Enabled: true, CertFile: "c"} },
		"tls.insecure_skip_verify:": func(c *Config) {
			c.Brokers = []string{"127.0.0.1:1", "kafka:9092"}
			c.TLS = TLS{Enabled: true, InsecureSkipVerify: true}
		},
	}
	for want, spoil := range tests {
		cfg := valid()
		spoil(&cfg)
		err := cfg.Validate()
		if err == nil || len(strings.Split(err.Error(), "\n")) != 1 || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want only %q", err, want)
		}
	}
	all := Config{}
	if n := len(strings.Split(all.Validate().Error(), "\n")); n < 14 {
		t.Errorf("an empty config has %d problems reported: %v", n, all.Validate())
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"a time":                   func(c *Config) { c.Start = "2026-01-01T00:00:00+02:00" },
		"next_gen":                 func(c *Config) { c.NextGen = true },
		"skip verify on localhost": func(c *Config) { c.TLS = TLS{Enabled: true, InsecureSkipVerify: true} },
		"skip verify on IPv6": func(c *Config) {
			c.Brokers, c.TLS = []string{"[::1]:9092"}, TLS{Enabled: true, InsecureSkipVerify: true}
		},
	} {
		cfg := valid()
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is no address is refused at the start, and not when it is dialled.
func TestBrokersAreHostAndPort(t *testing.T) {
	t.Parallel()
	for broker, ok := range map[string]bool{
		"5": false, "kafka": false, "kafka:": false, ":9092": false, "kafka:x": false, "kafka:0": false, "kafka:65536": false, "kafka:-1": false,
		"kafka:+1": false, " kafka:9092": false, "kafka:9092 ": false, "::1": false, "http://kafka:9092": false, "": false, "u:hunter2@kafka:9092": false,
		"kafka:1": true, "kafka-1.example:65535": true, "[::1]:9092": true, "10.0.0.1:9092": true,
	} {
		cfg := valid()
		cfg.Brokers = []string{"kafka:9092", broker}
		err := cfg.Validate()
		if (err == nil) != ok {
			t.Errorf("%q: %v", broker, err)
		}
		if !ok && err != nil && (!strings.HasPrefix(err.Error(), "brokers: ") || !strings.Contains(err.Error(), "host:port") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: %v", broker, err)
		}
	}
}

func TestConfigHidesThePassword(t *testing.T) {
	t.Parallel()
	cfg := valid()
	cfg.SASL = SASL{Mechanism: "plain", Username: "u", Password: "hunter2"}
	if out := fmt.Sprintf("%v %+v", cfg, cfg); strings.Contains(out, "hunter2") {
		t.Error(out)
	}
}

func TestDeadLettersName(t *testing.T) {
	t.Parallel()
	cfg := valid()
	if got := cfg.DeadLetters(); got != "docs.dead-letters" {
		t.Error(got)
	}
	cfg.DeadLetterTopic = "elsewhere"
	if got := cfg.DeadLetters(); got != "elsewhere" {
		t.Error(got)
	}
}
