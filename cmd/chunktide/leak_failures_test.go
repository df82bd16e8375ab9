package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/configs"
	"chunktide/devstack/qdrantd"
)

// Commands that fail, each at another server or another mistake.
func TestFailuresLeakNothing(t *testing.T) {
	secrets := planted()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As bad as a service can be: it repeats what it was sent.
		_ = r.ParseForm()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": fmt.Sprint(r.Header, r.Form)})
	}))
	defer echo.Close()
	w := newWorld(t)
	other, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "worker", "another"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	locked, err := qdrantd.Start(qdrantd.Options{APIKey: "another"})
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	// It knows of the mechanism, and the client fails before it sends a token.
	tokens, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer tokens.Close()
	tokens.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		tokens.KeepControl()
		return req.ResponseKind(), nil, true
	})
	used := map[string]bool{}
	for name, tt := range map[string]struct {
		without  []string
		settings []string
		command  string
		says     string
	}{
		"Kafka refuses the password": {[]string{"kafka.sasl.oauth"}, []string{"kafka.brokers=" + other.ListenAddrs()[0]}, "run", "sasl"},
		"Qdrant refuses the key":     {[]string{"kafka.sasl.oauth"}, []string{"qdrant.address=" + locked.Addr()}, "run", "qdrant.api_key"},
		"no token for Kafka": {[]string{"kafka.sasl.password"}, []string{
			"kafka.brokers=" + tokens.ListenAddrs()[0], "kafka.sasl.mechanism=oauthbearer", "kafka.sasl.username=", "kafka.sasl.oauth.token_url=" + echo.URL, "kafka.sasl.oauth.client_id=worker",
		}, "run", "invalid_client"},
		"the encoder's service refuses": {[]string{"kafka.sasl.oauth"}, []string{"embedder.encoder=remote", "embedder.remote.url=" + echo.URL}, "run", "embedder.remote.api_key"},
		"a URL that is none":            {[]string{"kafka.sasl.oauth"}, []string{"cache.url=redis://u:" + secrets["cache.url"] + "/x@h"}, "run", "percent-encode"},
		"a URL with a wrong option":     {[]string{"kafka.sasl.oauth"}, []string{"cache.url=redis://u:" + secrets["cache.url"] + "@h?no_such=1"}, "run", "no_such"},
		"headers that are none":         {[]string{"kafka.sasl.oauth", "tracing.headers"}, []string{"tracing.headers=" + secrets["tracing.headers"]}, "run", "tracing.headers"},
		"the key would be in clear":     {[]string{"kafka.sasl.oauth"}, []string{"qdrant.address=qdrant.example:6334"}, "run", "in clear"},
		"both secrets":                  {[]string{"none"}, nil, "run", "sasl.oauth"},
		"a port for everybody":          {[]string{"kafka.sasl.oauth", "serve.api_key"}, []string{"serve.address=0.0.0.0:0"}, "serve", "serve.api_key"},
		"the doctor":                    {[]string{"kafka.sasl.oauth"}, []string{"qdrant.address=" + locked.Addr(), "kafka.brokers=" + other.ListenAddrs()[0]}, "doctor", "qdrant"},
		"the status":                    {[]string{"kafka.sasl.oauth"}, []string{"qdrant.address=" + locked.Addr(), "kafka.brokers=" + other.ListenAddrs()[0]}, "status", "qdrant"},
	} {
		environ := without(tt.without...)
		for key := range secrets {
			used[key] = used[key] || slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, configs.EnvName(key)+"=") })
		}
		code, printed := w.command(name, environ, append(slices.Clone(w.settings), tt.settings...), nil, tt.command)
		if code == exitDone || !strings.Contains(printed, tt.says) {
			t.Errorf("%s: exit %d, want one that names %s: %s", name, code, tt.says, printed)
		}
		if found := leaks(printed, wanted()); len(found) > 0 {
			t.Errorf("%s: %q leak in\n%s", name, found, printed)
		}
	}
	for key := range secrets {
		if !used[key] && key != "cache.url" {
			t.Errorf("%s was never set: the test says nothing of it", key)
		}
	}
}
