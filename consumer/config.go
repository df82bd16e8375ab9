package consumer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/hostport"
)

// Config says what to read, as whom, and how much at once.
type Config struct {
	// Brokers are host:port pairs to bootstrap from.
	Brokers []string `mapstructure:"brokers"`
	// Topics are what to read. They are needed.
	Topics []string `mapstructure:"topics"`
	// Group is the consumer group: workers that share the work share its name.
	// It is needed.
	Group string `mapstructure:"group"`
	// ClientID is shown in the broker's logs and quotas.
	ClientID string `mapstructure:"client_id"`
	// InstanceID makes the member static (KIP-345): a restart within the
	// session timeout takes its partitions back without a rebalance. Each
	// worker needs one of its own. Empty is dynamic.
	InstanceID string `mapstructure:"instance_id"`
	// Balancer is cooperative-sticky, sticky, range or roundrobin. All members
	// of a group need a common one.
	Balancer string `mapstructure:"balancer"`
	// NextGen uses the consumer protocol of KIP-848 (Kafka 4.0 or newer; best
	// from 4.3): the broker assigns partitions, and its settings replace
	// SessionTimeout and Heartbeat.
	NextGen bool `mapstructure:"next_gen"`
	// SessionTimeout is how long the broker waits for a heartbeat before it
	// gives the member's partitions away.
	SessionTimeout time.Duration `mapstructure:"session_timeout"`
	// Heartbeat is how often the member reports to the broker; a third of
	// SessionTimeout or less.
	Heartbeat time.Duration `mapstructure:"heartbeat"`
	// RebalanceTimeout is how long a member may take to let go of partitions.
	// Half of it is for the batches in flight, the rest for the commit and for
	// joining again.
	RebalanceTimeout time.Duration `mapstructure:"rebalance_timeout"`
	// FetchMaxBytes bounds one fetch response of one broker, compressed. The
	// client holds one a broker beside the buffer.
	FetchMaxBytes int32 `mapstructure:"fetch_max_bytes"`
	// ResponseMaxBytes bounds one response as it comes over the wire. A record
	// batch is read whole, however large it is; one over the bound ends the
	// worker, since the partition cannot be read past it.
	ResponseMaxBytes int32 `mapstructure:"response_max_bytes"`
	// FetchMaxWait is how long a broker may hold a fetch open for new records.
	FetchMaxWait time.Duration `mapstructure:"fetch_max_wait"`
	// DecompressMaxBytes bounds one record batch once decompressed. A batch of
	// a megabyte can unfold to a gigabyte; one over the bound is stepped over, and
	// a dead letter says where it lies.
	DecompressMaxBytes int `mapstructure:"decompress_max_bytes"`
	// Isolation is read_committed or read_uncommitted.
	Isolation string `mapstructure:"isolation"`
	// Start is where a partition begins that its group has never committed:
	// earliest, latest, or a time (RFC 3339).
	Start string `mapstructure:"start"`
	// StopAtEnd makes the source finite: it ends (io.EOF) when every record that
	// was there when it began has been handed out, or was committed by another
	// member of the group.
	StopAtEnd bool  `mapstructure:"stop_at_end"`
	Batch     Batch `mapstructure:"batch"`
	// BufferBytes is the budget of bytes (keys, values and headers, as read)
	// that wait or are in flight. One poll may overshoot it.
	BufferBytes int64 `mapstructure:"buffer_bytes"`
	// DeadLetterTopic is "<first topic>.dead-letters" when empty.
	DeadLetterTopic string `mapstructure:"dead_letter_topic"`
	// DeadLetterMaxBytes is the largest dead letter to send whole; match it
	// with the topic's max.message.bytes.
	DeadLetterMaxBytes int32 `mapstructure:"dead_letter_max_bytes"`
	// QuarantineAfter is how many workers in a row must have died with one
	// record alone in flight before that record goes to the dead letters. Zero
	// counts no deaths.
	QuarantineAfter int          `mapstructure:"quarantine_after"`
	CreateTopics    CreateTopics `mapstructure:"create_topics"`
	SASL            SASL         `mapstructure:"sasl"`
	TLS             TLS          `mapstructure:"tls"`
	// Dial, when set, opens the connections to brokers in place of TCP: for a
	// program that embeds the worker, and for servers within the process. It
	// excludes TLS, which the function may wrap itself.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `mapstructure:"-"`

	// options are appended to the client's; for the tests of this package.
	options []kgo.Opt
	// endsEvery replaces the constant of that name, for the same; below 0 nobody
	// looks.
	endsEvery time.Duration
}

// Batch closes a micro-batch at whichever bound is reached first. Only a
// single record may exceed one.
type Batch struct {
	// Tokens bounds the texts to encode, as estimated from their length and
	// script: to count them would double the work of a replay.
	Tokens int `mapstructure:"tokens"`
	// Events bounds events; a record without any counts as one.
	Events int `mapstructure:"events"`
	// Bytes bounds keys, values and headers.
	Bytes int64 `mapstructure:"bytes"`
	// Linger is the longest that a record waits for others to join it.
	Linger time.Duration `mapstructure:"linger"`
	// IdleLinger is the same while no batch is in flight. Then waiting gains
	// little, and what comes meanwhile fills the next batch: so batches are
	// small when there is little to do, and grow with the load.
	IdleLinger time.Duration `mapstructure:"idle_linger"`
}

// CreateTopics lets the worker create what is missing.
type CreateTopics struct {
	// Enabled creates the topics to read, and that of the dead letters, where
	// they do not exist at the start.
	Enabled bool `mapstructure:"enabled"`
	// Partitions is how many partitions a new topic gets; as many workers can
	// share it.
	Partitions int32 `mapstructure:"partitions"`
	// Replication is on how many brokers each partition lies.
	Replication int16 `mapstructure:"replication"`
}

// SASL is off without a mechanism.
type SASL struct {
	// Mechanism is plain, scram-sha-256, scram-sha-512, oauthbearer or empty.
	Mechanism string `mapstructure:"mechanism"`
	// Username and Password are the client's; oauthbearer has none.
	Username string       `mapstructure:"username"`
	Password chunk.Secret `mapstructure:"password"`
	OAuth    OAuth        `mapstructure:"oauth"`
}

// TLS is off unless enabled. Certificates are PEM files.
type TLS struct {
	// Enabled connects to the brokers over TLS.
	Enabled bool `mapstructure:"enabled"`
	// CAFile replaces the system's certificate authorities.
	CAFile string `mapstructure:"ca_file"`
	// CertFile and KeyFile are the client's own, for mutual TLS.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ServerName is expected in the brokers' certificates instead of the name
	// that was dialled.
	ServerName string `mapstructure:"server_name"`
	// InsecureSkipVerify accepts any certificate. It is refused unless every
	// broker is on a loopback address.
	InsecureSkipVerify bool `mapstructure:"insecure_skip_verify"`
}

// DefaultConfig lacks Topics and Group.
func DefaultConfig() Config {
	return Config{
		Brokers:            []string{"localhost:9092"},
		ClientID:           "chunktide",
		Balancer:           "cooperative-sticky",
		SessionTimeout:     45 * time.Second,
		Heartbeat:          3 * time.Second,
		RebalanceTimeout:   60 * time.Second,
		FetchMaxBytes:      16 << 20,
		ResponseMaxBytes:   128 << 20,
		FetchMaxWait:       5 * time.Second,
		DecompressMaxBytes: 64 << 20,
		Isolation:          "read_committed",
		Start:              "earliest",
		Batch:              Batch{Tokens: 16384, Events: 256, Bytes: 4 << 20, Linger: 50 * time.Millisecond, IdleLinger: 5 * time.Millisecond},
		BufferBytes:        64 << 20,
		DeadLetterMaxBytes: 1048588, // Kafka's own default of message.max.bytes
		QuarantineAfter:    3,
		CreateTopics:       CreateTopics{Partitions: 12, Replication: 3},
		SASL:               SASL{OAuth: OAuth{Scopes: []string{}, Extensions: []string{}}},
	}
}

// DeadLetters is the name of the dead-letter topic.
func (c Config) DeadLetters() string {
	switch {
	case c.DeadLetterTopic != "":
		return c.DeadLetterTopic
	case len(c.Topics) > 0:
		return c.Topics[0] + ".dead-letters"
	default:
		return ""
	}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var p problems
	c.validateNames(&p)
	c.validateGroup(&p)
	c.validateBounds(&p)
	c.validateSecurity(&p)
	return errors.Join(p...)
}

type problems []error

func (p *problems) unless(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func (c Config) validateNames(p *problems) {
	p.unless(len(c.Brokers) > 0, "brokers: give at least one host:port")
	for i, b := range c.Brokers {
		// The value is not quoted where it may hold a password.
		if strings.Contains(b, "@") {
			p.unless(false, "brokers: number %d of them is not host:port; a user and a password go to sasl", i+1)
			continue
		}
		p.unless(hostport.CanBeDialed(b), "brokers: %q is not host:port, such as kafka-1:9092", b)
	}
	p.unless(len(c.Topics) > 0, "topics: give at least one")
	p.unless(!slices.Contains(c.Topics, ""), "topics: a name is empty")
	p.unless(!slices.Contains(c.Topics, c.DeadLetters()),
		"dead_letter_topic: %q is read as well: each dead letter would be rejected again, for ever", c.DeadLetters())
}

func (c Config) validateGroup(p *problems) {
	p.unless(c.Group != "", "group: name the consumer group; workers that share the work share the name")
	_, known := balancers[c.Balancer]
	p.unless(known, "balancer: %q is none of cooperative-sticky, sticky, range, roundrobin", c.Balancer)
	p.unless(!c.NextGen || c.Balancer != "roundrobin", "balancer: next_gen has no roundrobin; use cooperative-sticky or range")
	p.unless(c.SessionTimeout > 0, "session_timeout: must be positive")
	p.unless(c.Heartbeat > 0 && (c.SessionTimeout <= 0 || c.Heartbeat <= c.SessionTimeout/3), "heartbeat: must be positive and at most a third of session_timeout")
	p.unless(c.RebalanceTimeout > 0, "rebalance_timeout: must be positive")
	p.unless(c.Isolation == "read_committed" || c.uncommitted(),
		"isolation: %q is neither read_committed nor read_uncommitted", c.Isolation)
	_, err := c.start()
	p.unless(err == nil, "start: %q is none of earliest, latest, or a time like 2006-01-02T15:04:05Z", c.Start)
}

func (c Config) validateBounds(p *problems) {
	p.unless(c.FetchMaxBytes > 0, "fetch_max_bytes: must be positive")
	p.unless(c.ResponseMaxBytes >= c.FetchMaxBytes, "response_max_bytes: must be at least fetch_max_bytes")
	p.unless(c.QuarantineAfter >= 0, "quarantine_after: must not be negative; 0 counts no deaths")
	p.unless(c.FetchMaxWait >= 10*time.Millisecond, "fetch_max_wait: must be at least 10ms")
	p.unless(c.DecompressMaxBytes > 0, "decompress_max_bytes: must be positive")
	p.unless(c.Batch.Tokens > 0, "batch.tokens: must be positive")
	p.unless(c.Batch.Events > 0, "batch.events: must be positive")
	p.unless(c.Batch.Bytes > 0, "batch.bytes: must be positive")
	p.unless(c.Batch.Linger > 0, "batch.linger: must be positive")
	p.unless(c.Batch.IdleLinger >= 0 && c.Batch.IdleLinger <= c.Batch.Linger, "batch.idle_linger: must be between 0 and batch.linger")
	p.unless(c.BufferBytes >= c.Batch.Bytes, "buffer_bytes: must be at least batch.bytes, else no batch fills")
	p.unless(c.DeadLetterMaxBytes >= 1<<10, "dead_letter_max_bytes: must be at least 1024")
	if c.CreateTopics.Enabled {
		p.unless(c.CreateTopics.Partitions > 0, "create_topics.partitions: must be positive")
		p.unless(c.CreateTopics.Replication > 0, "create_topics.replication: must be positive")
	}
}

func (c Config) validateSecurity(p *problems) {
	c.SASL.validate(p)
	p.unless(c.Dial == nil || !c.TLS.Enabled, "tls.enabled: is not possible with a Dial function of your own; let that function do TLS")
	t := c.TLS
	p.unless((t.CertFile == "") == (t.KeyFile == ""), "tls.cert_file, tls.key_file: give both or neither")
	if !t.Enabled {
		p.unless(t == TLS{}, "tls.enabled: is false, but other tls settings are given")
		return
	}
	p.unless(!t.InsecureSkipVerify || c.loopback(),
		"tls.insecure_skip_verify: is refused for brokers elsewhere than on this machine; give tls.ca_file instead")
}

func (s SASL) validate(p *problems) {
	_, byPassword := mechanisms[s.Mechanism]
	switch {
	case byPassword:
		p.unless(s.Username != "", "sasl.username: is needed with sasl.mechanism")
		p.unless(s.Password != "", "sasl.password: is needed with sasl.mechanism")
	case s.Mechanism == oauthBearer:
		s.OAuth.validate(p)
		p.unless(s.Username == "" && s.Password == "", "sasl.username, sasl.password: oauthbearer has none")
		return
	case s.Mechanism == "":
		p.unless(s.Username == "" && s.Password == "", "sasl.mechanism: is needed with a username or password")
	default:
		p.unless(false, "sasl.mechanism: %q is none of %s", s.Mechanism, mechanismNames)
	}
	p.unless(!s.OAuth.given(), "sasl.oauth: is given, but sasl.mechanism is not oauthbearer")
}

// loopback reports whether every broker is on this machine.
func (c Config) loopback() bool {
	for _, b := range c.Brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			return false
		}
		if !hostport.IsLocal(strings.ToLower(host)) {
			return false
		}
	}
	return true
}
