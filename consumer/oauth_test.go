package consumer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
	"chunktide/devstack/certs"
	"chunktide/devstack/realservers"
)

// gatekeeper answers the authentication of mechanism OAUTHBEARER in a fake
// cluster: it lets in one token, and remembers what it was sent.
type gatekeeper struct {
	mu   sync.Mutex
	want string
	seen []string
}

func (g *gatekeeper) lets(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want = token
}

func (g *gatekeeper) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

func (g *gatekeeper) control(req kmsg.Request) (kmsg.Response, error, bool) {
	switch req := req.(type) {
	case *kmsg.SASLHandshakeRequest:
		resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
		if resp.SupportedMechanisms = []string{"OAUTHBEARER"}; req.Mechanism != "OAUTHBEARER" {
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return resp, nil, true
	case *kmsg.SASLAuthenticateRequest:
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.seen = append(g.seen, string(req.SASLAuthBytes))
		if !strings.Contains(string(req.SASLAuthBytes), "\x01auth=Bearer "+g.want+"\x01") {
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		}
		return resp, nil, true
	}
	return nil, nil, false
}

// guarded is a cluster that wants a token.
func guarded(t *testing.T) (*gatekeeper, Config) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.SeedTopics(1, letters), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	g := &gatekeeper{}
	c.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp, err, handled := g.control(req)
		if handled {
			c.KeepControl()
		}
		return resp, err, handled
	})
	cfg := DefaultConfig()
	cfg.Brokers, cfg.Topics, cfg.Group = c.ListenAddrs(), []string{topic}, group
	cfg.SASL.Mechanism = oauthBearer
	return g, cfg
}

// ping connects anew and asks for something.
func ping(t *testing.T, cfg Config) error {
	t.Helper()
	options, err := ClientOptions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := timeout(t, 10*time.Second)
	defer cancel()
	return client.Ping(ctx)
}

func TestTokensFromAFile(t *testing.T) {
	t.Parallel()
	g, cfg := guarded(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.SASL.OAuth.TokenFile, cfg.SASL.OAuth.Extensions = file, []string{"logicalCluster=lkc-1", "pool=a=b"}
	write("first\n")
	g.lets("first")
	if err := joins(t, cfg); err != nil {
		t.Fatal(err)
	}
	if sent := g.asked()[0]; !strings.Contains(sent, "\x01logicalCluster=lkc-1\x01pool=a=b\x01") {
		t.Errorf("the extensions are not in %q", sent)
	}

	// One client: its options were made before the token was renewed.
	options, err := ClientOptions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	write("renewed")
	g.lets("renewed")
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("with a renewed token: %v", err)
	}

	write("forged-secret")
	if err := ping(t, cfg); err == nil || strings.Contains(err.Error(), "forged-secret") {
		t.Errorf("with a token that is not let in: %v", err)
	}
	for _, broken := range []string{"", "two tokens", strings.Repeat("x", tokenBytes+1)} {
		write(broken)
		if err := ping(t, cfg); err == nil || !strings.Contains(err.Error(), "sasl.oauth.token_file") {
			t.Errorf("with %.20q for a token: %v", broken, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := ping(t, cfg); err == nil || !strings.Contains(err.Error(), "sasl.oauth.token_file") {
		t.Errorf("without the file: %v", err)
	}
}

// provider is a token endpoint.
type provider struct {
	mu     sync.Mutex
	secret string
	issued int
	scope  string
	expiry int
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, ok := r.BasicAuth()
	w.Header().Set("Content-Type", "application/json")
	if !ok || id != "worker" || secret != p.secret {
		w.WriteHeader(http.StatusUnauthorized)
		// Some repeat what they were sent.
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s is not the secret of %s"}`, secret, id)
		return
	}
	p.issued++
	p.scope = r.FormValue("scope")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprintf("token-%d", p.issued), "token_type": "Bearer", "expires_in": p.expiry})
}

func (p *provider) count() (issued int, scope string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued, p.scope
}

func TestTokensFromAProvider(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse"
	for name, tt := range map[string]struct {
		expiry, issued int
		last           string
	}{
		"a token is used again":           {3600, 1, "token-1"},
		"one that soon expires is not":    {59, 2, "token-2"},
		"nor is one that has expired now": {1, 2, "token-2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := certs.New(t)
			p := &provider{secret: secret, expiry: tt.expiry}
			server := httptest.NewUnstartedServer(p)
			server.TLS = a.Server(false)
			server.Config.ErrorLog = nil
			server.StartTLS()
			t.Cleanup(server.Close)
			g, cfg := guarded(t)
			cfg.SASL.OAuth = OAuth{TokenURL: server.URL + "/token", ClientID: "worker", ClientSecret: secret, Scopes: []string{"kafka", "read"}, CAFile: a.CAFile}
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			options, err := ClientOptions(cfg) // whose clients share their tokens
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range []string{"token-1", tt.last} {
				g.lets(token)
				client, err := kgo.NewClient(options...)
				if err != nil {
					t.Fatal(err)
				}
				if err := client.Ping(t.Context()); err != nil {
					t.Errorf("with %s: %v", token, err)
				}
				client.Close()
			}
			if issued, scope := p.count(); issued != tt.issued || scope != "kafka read" {
				t.Errorf("%d tokens were issued, want %d; the scope was %q", issued, tt.issued, scope)
			}
		})
	}
}

// What a provider answers is never quoted: it may repeat the secret.
func TestAProvidersRefusalTellsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "battery-staple"
	mute := httptest.NewServer(nil)
	mute.Close()
	for says, handler := range map[string]http.Handler{
		"invalid_client: check": &provider{secret: "another"},
		"500":                   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, secret, http.StatusInternalServerError) }),
		"not a token":           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"access_token":`+secret) }),
		"302": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere?"+secret, http.StatusFound)
		}),
		"connect": nil,
	} {
		server := mute
		if handler != nil {
			server = httptest.NewServer(handler)
		}
		o := OAuth{TokenURL: server.URL + "/token?key=" + secret, ClientID: "worker", ClientSecret: secret}
		token, err := o.fromProvider()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = token(); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "sasl.oauth.token_url") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", says, err)
		}
		server.Close()
	}
}

func TestOAuthSettings(t *testing.T) {
	t.Parallel()
	credentials := func(url string) OAuth { return OAuth{TokenURL: url, ClientID: "c", ClientSecret: "hunter2"} }
	for _, tt := range []struct {
		sasl SASL
		says string // empty: it works
	}{
		{SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenFile: "f"}}, ""},
		{SASL{Mechanism: oauthBearer, OAuth: credentials("https://idp.example/token")}, ""},
		{SASL{Mechanism: oauthBearer, OAuth: credentials("http://localhost:8080/token")}, ""},
		{SASL{Mechanism: oauthBearer}, "needs token_file or token_url"},
		{SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenFile: "f", TokenURL: "https://x"}}, "not both"},
		{SASL{Mechanism: oauthBearer, Username: "u", OAuth: OAuth{TokenFile: "f"}}, "sasl.username"},
		{SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenFile: "f", ClientID: "c"}}, "sasl.oauth.token_url: is needed"},
		{SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenURL: "https://x"}}, "sasl.oauth.client_id"},
		{SASL{Mechanism: oauthBearer, OAuth: credentials("http://idp.example/token")}, "in clear"},
		{SASL{Mechanism: oauthBearer, OAuth: credentials("https://u:hunter2@idp.example/token")}, "must hold no user"},
		{SASL{Mechanism: oauthBearer, OAuth: credentials("https://u:hunter2%zz@x")}, "want https://"},
		{SASL{Mechanism: oauthBearer, OAuth: credentials("idp.example/token")}, "want https://"},
		{SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenFile: "f", Extensions: []string{"a=b", "hunter2"}}}, "extensions: entry 2"},
		{SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenFile: "f", Extensions: []string{"auth=Bearer x"}}}, "extensions: entry 1"},
		{SASL{Mechanism: "plain", Username: "u", Password: "p", OAuth: OAuth{TokenFile: "f"}}, "not oauthbearer"},
		{SASL{OAuth: OAuth{TokenFile: "f"}}, "not oauthbearer"},
	} {
		cfg := DefaultConfig()
		cfg.Topics, cfg.Group, cfg.SASL = []string{topic}, group, tt.sasl
		err := cfg.Validate()
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%+v: %v, want %q", tt.sasl, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	cfg := DefaultConfig()
	cfg.SASL = SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenURL: "https://x", ClientID: "c", ClientSecret: "s", CAFile: "absent"}}
	if _, err := ClientOptions(cfg); err == nil || !strings.HasPrefix(err.Error(), "sasl.oauth.ca_file") {
		t.Errorf("without the authorities: %v", err)
	}
}

// unsecured is a token that a broker's built-in validator takes, which is for
// tests: a JSON web token without a signature.
func unsecured(subject string, expires time.Time) chunk.Secret {
	part := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	now := time.Now().Add(-time.Minute).Unix()
	return chunk.Secret(part(map[string]string{"alg": "none"}) + "." + part(map[string]any{"sub": subject, "iat": now, "exp": expires.Unix()}) + ".")
}

// A real broker lets in who has a token, and nobody else.
func TestOAuthWithARealBroker(t *testing.T) {
	t.Parallel()
	// The broker tells its clients to come by the address that it advertises,
	// which is known only when it runs; whatever they dial leads to it.
	broker := realservers.RunKafka(t, realservers.KafkaOptions{
		Advertise: []string{"127.0.0.1:1"},
		Properties: map[string]string{
			"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXY0:SASL_PLAINTEXT",
			"sasl.enabled.mechanisms":        "OAUTHBEARER",
			"listener.name.proxy0.oauthbearer.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule " +
				`required unsecuredLoginStringClaim_sub="broker";`,
		},
	})
	file := filepath.Join(t.TempDir(), "token")
	cfg := DefaultConfig()
	cfg.Brokers = broker.Listeners
	cfg.SASL = SASL{Mechanism: oauthBearer, OAuth: OAuth{TokenFile: file}}
	dialer := &net.Dialer{}
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, broker.Listeners[0])
	}
	for name, tt := range map[string]struct {
		token chunk.Secret
		ok    bool
	}{
		"a token":     {unsecured("worker", time.Now().Add(time.Hour)), true},
		"too old":     {unsecured("worker", time.Now().Add(-50*time.Second)), false},
		"of no kind":  {"gibberish", false},
		"of no claim": {"e30.e30.", false},
	} {
		if err := os.WriteFile(file, []byte(tt.token.Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ping(t, cfg); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		} else if err != nil && strings.Contains(err.Error(), tt.token.Reveal()) {
			t.Errorf("%s: the error tells the token: %v", name, err)
		}
	}
	cfg.SASL = SASL{}
	if err := ping(t, cfg); err == nil {
		t.Error("without any token")
	}
}
