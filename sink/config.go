package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"chunktide/chunk"
	"chunktide/hostport"
	"chunktide/tlsfiles"
)

// Config says where the index is and how to write to it.
type Config struct {
	// Address is host:port of Qdrant's gRPC port.
	Address string `mapstructure:"address"`
	// APIKey is sent with each request.
	APIKey chunk.Secret `mapstructure:"api_key"`
	// AllowInsecureAPIKey sends the key without TLS to another machine, where
	// anyone on the way can read it.
	AllowInsecureAPIKey bool `mapstructure:"allow_insecure_api_key"`
	TLS                 TLS  `mapstructure:"tls"`
	// Index is the alias that readers search.
	Index string `mapstructure:"index"`
	// Collection is written to; empty is <index>--<model name>-<digest>. Naming
	// it lets a worker fill a new model's collection while the alias still
	// serves the old one.
	Collection string `mapstructure:"collection"`
	// Create makes the collection and the alias when they are absent.
	Create bool `mapstructure:"create"`
	// Shards and ReplicationFactor are those of a collection that is made.
	Shards            uint32 `mapstructure:"shards"`
	ReplicationFactor uint32 `mapstructure:"replication_factor"`
	// OnDisk keeps vectors on disk instead of in memory.
	OnDisk bool `mapstructure:"on_disk"`
	// TextKey and MetadataKey are the payload keys of text and metadata, so
	// that other readers' conventions fit (LangChain: page_content, metadata).
	TextKey     string `mapstructure:"text_key"`
	MetadataKey string `mapstructure:"metadata_key"`
	// RequestPoints and RequestBytes bound one write.
	RequestPoints int `mapstructure:"request_points"`
	RequestBytes  int `mapstructure:"request_bytes"`
	// ParallelRequests is how many writes of one batch are on their way at
	// once, so that one is made while the index is busy with another.
	ParallelRequests int `mapstructure:"parallel_requests"`
	// RequestTimeout bounds one attempt of a request.
	RequestTimeout time.Duration `mapstructure:"request_timeout"`
	Retry          Retry         `mapstructure:"retry"`
	// Group, when set, is the consumer group whose events are written. The
	// events of a group are shared out among its members, so all of them must
	// go to one collection: another one of the index is refused.
	Group string `mapstructure:"-"`
	// Dial, when set, opens the connections in place of TCP: for a program that
	// embeds the worker, and for a server within the process.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `mapstructure:"-"`
}

// Retry is the wait between attempts: it doubles from Initial to Max, each
// time varied by up to half.
type Retry struct {
	// Initial is the first wait, and Max the longest.
	Initial time.Duration `mapstructure:"initial"`
	Max     time.Duration `mapstructure:"max"`
}

// TLS is off unless enabled. Certificates are PEM files.
type TLS struct {
	// Enabled connects to Qdrant over TLS.
	Enabled bool `mapstructure:"enabled"`
	// CAFile replaces the system's certificate authorities.
	CAFile string `mapstructure:"ca_file"`
	// CertFile and KeyFile are the client's own, for mutual TLS.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ServerName is expected in the server's certificate instead of the host
	// of the address.
	ServerName string `mapstructure:"server_name"`
}

// DefaultConfig suits one Qdrant on this machine.
func DefaultConfig() Config {
	return Config{
		Address: "localhost:6334", Index: "chunks", Create: true, Shards: 1, ReplicationFactor: 1,
		TextKey: "text", MetadataKey: "metadata",
		RequestPoints: 128, RequestBytes: 8 << 20, ParallelRequests: 2, RequestTimeout: 30 * time.Second,
		Retry: Retry{Initial: 100 * time.Millisecond, Max: 10 * time.Second},
	}
}

// collectionName is what Qdrant and every file system take.
var collectionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$`)

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case strings.Contains(c.Address, "@"): // not quoted: it may hold a password
		bad("address: an @ does not belong into host:port (the gRPC port, 6334 by default); Qdrant knows no users, a key goes to api_key")
	case !hostport.CanBeDialed(c.Address):
		bad("address: %q is not host:port (the gRPC port, 6334 by default)", c.Address)
	}
	if !collectionName.MatchString(c.Index) {
		bad("index: %q must be letters, digits, dots, hyphens and underscores", c.Index)
	}
	if c.Collection != "" && !collectionName.MatchString(c.Collection) {
		bad("collection: %q must be letters, digits, dots, hyphens and underscores", c.Collection)
	}
	if c.Collection != "" && c.Collection == c.Index {
		bad("collection: must differ from index, which is the alias that points to it")
	}
	host, _, _ := net.SplitHostPort(c.Address)
	if c.APIKey != "" && !c.TLS.Enabled && !c.AllowInsecureAPIKey && !hostport.IsLocal(host) {
		bad("api_key: would cross the network in clear: set qdrant.tls.enabled, or allow_insecure_api_key if you must")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file, tls.key_file: give both or neither")
	}
	if !c.TLS.Enabled && c.TLS != (TLS{}) {
		bad("tls.enabled: is false, but other tls settings are given")
	}
	reserved := []string{"", keySource, keyDocument, keyChunk, keyPosition, keyOwn}
	if slices.Contains(reserved, c.TextKey) {
		bad("text_key: %q is empty or taken", c.TextKey)
	}
	if slices.Contains(reserved, c.MetadataKey) || c.MetadataKey == c.TextKey {
		bad("metadata_key: %q is empty or taken", c.MetadataKey)
	}
	for key, n := range map[string]int64{
		"shards": int64(c.Shards), "replication_factor": int64(c.ReplicationFactor),
		"request_points": int64(c.RequestPoints), "request_bytes": int64(c.RequestBytes),
		"parallel_requests": int64(c.ParallelRequests),
		"request_timeout":   int64(c.RequestTimeout), "retry.initial": int64(c.Retry.Initial),
	} {
		if n <= 0 {
			bad("%s: must be positive", key)
		}
	}
	if c.Retry.Max < c.Retry.Initial {
		bad("retry.max: must be at least retry.initial")
	}
	return errors.Join(errs...)
}

// client builds the TLS settings; nil without TLS.
func (t TLS) client() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	files := tlsfiles.Client{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	conf, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("qdrant.tls.%w", err)
	}
	return conf, nil
}
