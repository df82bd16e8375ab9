package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"chunktide/chunk"
	"chunktide/hostport"
	"chunktide/tlsfiles"
)

const oauthBearer = "oauthbearer"

// OAuth says where the tokens of mechanism oauthbearer come from: TokenFile, or
// TokenURL.
type OAuth struct {
	// TokenFile holds a token, which something else renews, such as Kubernetes
	// (a projected service account token). It is read again for each connection,
	// and when the brokers ask for a newer token.
	TokenFile string `mapstructure:"token_file"`
	// TokenURL is the token endpoint of an OpenID provider, for the grant of
	// client credentials. It must be https, but on this machine. A token is used
	// until a minute before it expires.
	TokenURL string `mapstructure:"token_url"`
	// ClientID and ClientSecret are what the provider knows this client by.
	ClientID     string       `mapstructure:"client_id"`
	ClientSecret chunk.Secret `mapstructure:"client_secret"`
	// Scopes are what to ask the provider for.
	Scopes []string `mapstructure:"scopes"`
	// CAFile replaces the system's certificate authorities for TokenURL.
	CAFile string `mapstructure:"ca_file"`
	// Extensions are sent to the brokers beside the token, as name=value, such as
	// logicalCluster=lkc-1.
	Extensions []string `mapstructure:"extensions"`
}

func (o OAuth) given() bool {
	return o.TokenFile != "" || o.TokenURL != "" || o.ClientID != "" || o.ClientSecret != "" || o.CAFile != "" || len(o.Scopes)+len(o.Extensions) > 0
}

func (o OAuth) validate(p *problems) {
	p.unless((o.TokenFile == "") != (o.TokenURL == ""), "sasl.oauth: oauthbearer needs token_file or token_url, and not both")
	if _, err := o.extensions(); err != nil {
		p.unless(false, "sasl.oauth.extensions: %w", err)
	}
	if o.TokenURL == "" {
		p.unless(o.ClientID == "" && o.ClientSecret == "" && o.CAFile == "" && len(o.Scopes) == 0,
			"sasl.oauth.token_url: is needed with client_id, client_secret, scopes or ca_file")
		return
	}
	p.unless(o.ClientID != "" && o.ClientSecret != "", "sasl.oauth.client_id, sasl.oauth.client_secret: are needed with token_url")
	u, err := url.Parse(o.TokenURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		p.unless(false, "sasl.oauth.token_url: want https://HOST/PATH")
	case u.User != nil || u.Fragment != "":
		p.unless(false, "sasl.oauth.token_url: must hold no user; give client_id and client_secret")
	case u.Scheme == "http" && !hostport.IsLocal(strings.ToLower(u.Hostname())):
		p.unless(false, "sasl.oauth.token_url: the client's secret would cross the network in clear: use https")
	}
}

// extensions never quotes a pair in its error: it may hold anything.
func (o OAuth) extensions() (map[string]string, error) {
	out := map[string]string{}
	for i, pair := range o.Extensions {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" || name == "auth" || strings.ContainsAny(pair, "\x00\x01") {
			return nil, fmt.Errorf("entry %d is not name=value", i+1)
		}
		out[name] = value
	}
	return out, nil
}

// Limits of what a token comes from.
const (
	tokenBytes   = 64 << 10
	tokenTimeout = 10 * time.Second
	// A broker ends a connection when its token expires, unless it gets a newer
	// one: so the old one is left aside a little earlier.
	tokenMargin = time.Minute
)

// mechanism asks for a token whenever a connection needs one. No error holds a
// token, a secret, or what a provider answered beside its error code.
func (o OAuth) mechanism() (sasl.Mechanism, error) {
	extensions, err := o.extensions()
	if err != nil {
		return nil, fmt.Errorf("sasl.oauth.extensions: %w", err)
	}
	token := o.fromFile
	if o.TokenURL != "" {
		if token, err = o.fromProvider(); err != nil {
			return nil, err
		}
	}
	return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
		t, err := token()
		return oauth.Auth{Token: t, Extensions: extensions}, err
	}), nil
}

func (o OAuth) fromFile() (string, error) {
	f, err := os.Open(o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("sasl.oauth.token_file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, tokenBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("sasl.oauth.token_file: %w", err)
	case len(data) > tokenBytes:
		return "", fmt.Errorf("sasl.oauth.token_file: %s has more than %d bytes, which is no token", o.TokenFile, tokenBytes)
	}
	t := strings.TrimSpace(string(data))
	if t == "" || strings.ContainsAny(t, " \t\r\n\x00\x01") {
		return "", fmt.Errorf("sasl.oauth.token_file: %s does not hold one token and nothing else", o.TokenFile)
	}
	return t, nil
}

func (o OAuth) fromProvider() (func() (string, error), error) {
	conf, err := tlsfiles.Client{CAFile: o.CAFile}.Config()
	if err != nil {
		return nil, fmt.Errorf("sasl.oauth.%w", err)
	}
	client := &http.Client{
		Timeout: tokenTimeout,
		// The secret goes where it was meant to, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, DisableKeepAlives: true},
	}
	credentials := clientcredentials.Config{ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), TokenURL: o.TokenURL, Scopes: o.Scopes}
	source := oauth2.ReuseTokenSourceWithExpiry(nil,
		credentials.TokenSource(context.WithValue(context.Background(), oauth2.HTTPClient, client)), tokenMargin)
	endpoint, _, _ := strings.Cut(o.TokenURL, "?") // what a query holds may be a key
	return func() (string, error) {
		t, err := source.Token()
		if err != nil {
			return "", fmt.Errorf("sasl.oauth.token_url: %s gave no token: %w", endpoint, withoutAnswer(err))
		}
		return t.AccessToken, nil
	}, nil
}

// withoutAnswer leaves out the body of a provider's refusal, which may repeat
// what it was sent.
func withoutAnswer(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		// The other errors are of the connection, or quote the answer's JSON.
		var network *url.Error
		if errors.As(err, &network) {
			return network.Err // without the URL
		}
		return errors.New("its answer is not a token")
	}
	switch code := refused.ErrorCode; code {
	// RFC 6749, section 5.2.
	case "invalid_client", "unauthorized_client":
		return fmt.Errorf("%s: check sasl.oauth.client_id and client_secret", code)
	case "invalid_scope":
		return fmt.Errorf("%s: check sasl.oauth.scopes", code)
	case "invalid_request", "invalid_grant", "unsupported_grant_type":
		return errors.New(code)
	}
	if refused.Response != nil {
		return fmt.Errorf("it answered %s", refused.Response.Status)
	}
	return errors.New("it refused")
}
