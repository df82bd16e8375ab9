package consumer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"chunktide/tlsfiles"
)

var balancers = map[string]func() kgo.GroupBalancer{
	"cooperative-sticky": kgo.CooperativeStickyBalancer,
	"sticky":             kgo.StickyBalancer,
	"range":              kgo.RangeBalancer,
	"roundrobin":         kgo.RoundRobinBalancer,
}

// mechanisms are those with a password.
var mechanisms = map[string]func(user, pass string) sasl.Mechanism{
	"plain":         func(u, p string) sasl.Mechanism { return plain.Auth{User: u, Pass: p}.AsMechanism() },
	"scram-sha-256": func(u, p string) sasl.Mechanism { return scram.Auth{User: u, Pass: p}.AsSha256Mechanism() },
	"scram-sha-512": func(u, p string) sasl.Mechanism { return scram.Auth{User: u, Pass: p}.AsSha512Mechanism() },
}

const mechanismNames = "plain, scram-sha-256, scram-sha-512, oauthbearer"

// ClientOptions are what every Kafka client of the program shares, whether it
// reads, writes or administers: brokers, client id, SASL and TLS. It reads the
// certificate files.
func ClientOptions(cfg Config) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(cfg.ClientID),
		kgo.DisableClientMetrics(),
	}
	if cfg.SASL.Mechanism != "" {
		mechanism, err := cfg.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	if cfg.Dial != nil {
		opts = append(opts, kgo.Dialer(cfg.Dial))
	}
	if cfg.TLS.Enabled {
		conf, err := cfg.TLS.load()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	}
	return append(opts, cfg.options...), nil
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	if s.Mechanism == oauthBearer {
		return s.OAuth.mechanism()
	}
	by, ok := mechanisms[s.Mechanism]
	if !ok {
		return nil, fmt.Errorf("sasl.mechanism: %q is none of %s", s.Mechanism, mechanismNames)
	}
	return by(s.Username, s.Password.Reveal()), nil
}

func (t TLS) load() (*tls.Config, error) {
	files := tlsfiles.Client{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	conf, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("tls.%w", err)
	}
	conf.InsecureSkipVerify = t.InsecureSkipVerify //nolint:gosec // Validate refuses it for other machines
	return conf, nil
}

var errStart = errors.New("no such start")

// start is where a partition without a commit begins.
func (c Config) start() (kgo.Offset, error) {
	switch c.Start {
	case "earliest":
		return kgo.NewOffset().AtStart(), nil
	case "latest":
		return kgo.NewOffset().AtEnd(), nil
	}
	at, err := time.Parse(time.RFC3339, c.Start)
	if err != nil {
		return kgo.Offset{}, errStart
	}
	return kgo.NewOffset().AfterMilli(at.UnixMilli()), nil
}

const readUncommitted = "read_uncommitted"

// uncommitted says that records are read before their transaction commits.
func (c Config) uncommitted() bool { return c.Isolation == readUncommitted }

func (c Config) isolation() kgo.IsolationLevel {
	if c.uncommitted() {
		return kgo.ReadUncommitted()
	}
	return kgo.ReadCommitted()
}

// groupOptions are those of the source's one client.
func (s *Source) groupOptions() ([]kgo.Opt, error) {
	cfg := s.cfg
	start, err := cfg.start()
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.ConsumeTopics(cfg.Topics...),
		kgo.ConsumerGroup(cfg.Group),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.HeartbeatInterval(cfg.Heartbeat),
		kgo.RebalanceTimeout(cfg.RebalanceTimeout),
		kgo.FetchMaxBytes(cfg.FetchMaxBytes),
		kgo.BrokerMaxReadBytes(cfg.ResponseMaxBytes),
		kgo.FetchMaxWait(cfg.FetchMaxWait),
		kgo.MaxDecompressBatchBytes(cfg.DecompressMaxBytes),
		kgo.FetchIsolationLevel(cfg.isolation()),
		// Commit and abort markers occupy offsets. Seen as records without
		// events, they let the committed offset reach the end of the log.
		kgo.KeepControlRecords(),
		kgo.ConsumeStartOffset(start),
		// A committed offset that is no longer in the log means records that
		// nobody read. The default would go on elsewhere.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableAutoCommit(),
		// The brokers were reached a moment ago, by prepare, so that TLS and SASL
		// are right: a connection that closes at once is an outage (a balancer
		// whose brokers are away), to be waited out.
		kgo.AlwaysRetryEOF(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(s.assigned),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.lost),
		kgo.OnOffsetsFetched(s.inherited),
		kgo.AdjustFetchOffsetsFn(s.begin),
		// Dead letters go out one batch at a time and are waited for.
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(cfg.DeadLetterMaxBytes),
		kgo.WithLogger(clientLog{s.logger}),
	}
	if cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(cfg.InstanceID))
	}
	balancer := cfg.Balancer
	if cfg.NextGen {
		opts = append(opts, kgo.ServerSideBalancer())
		if balancer == "cooperative-sticky" {
			// The client maps its sticky balancer to the broker's uniform
			// assignor; under KIP-848 every rebalance is cooperative.
			balancer = "sticky"
		}
	}
	return append(opts, kgo.Balancers(balancers[balancer]())), nil
}

// clientLog hands the client's log lines to slog, a level lower than the
// client rates them: what it calls an error it goes on to retry, and what it
// cannot retry comes back as an error to act on. They hold no record content.
type clientLog struct{ logger *slog.Logger }

func (l clientLog) Level() kgo.LogLevel {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelWarn
	case kgo.LogLevelWarn:
		to = slog.LevelInfo
	case kgo.LogLevelNone, kgo.LogLevelInfo, kgo.LogLevelDebug:
	}
	l.logger.Log(context.Background(), to, "kafka client: "+msg, keyvals...)
}
