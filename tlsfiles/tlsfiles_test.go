package tlsfiles

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chunktide/devstack/certs"
)

// meet has a client and a server shake hands, and returns what either says,
// with the name in the client's certificate.
func meet(t *testing.T, client, server *tls.Config) (name string, clientErr, serverErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		s := tls.Server(far, server)
		err := s.Handshake()
		if err == nil {
			if chains := s.ConnectionState().VerifiedChains; len(chains) > 0 {
				name = chains[0][0].Subject.CommonName
			}
			_, err = s.Write([]byte("x")) // TLS 1.3: the client learns only now
		}
		far.Close()
		ended <- err
	}()
	c := tls.Client(near, client)
	_, clientErr = io.ReadFull(c, make([]byte, 1))
	near.Close()
	serverErr = <-ended
	return name, clientErr, serverErr
}

func clientOf(t *testing.T, files Client) *tls.Config {
	t.Helper()
	files.ServerName = "localhost"
	conf, err := files.Config()
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func serverOf(t *testing.T, files Server, refused func(error)) *tls.Config {
	t.Helper()
	conf, err := files.Config(refused)
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func never(t *testing.T) func(error) {
	return func(err error) { t.Errorf("refused: %v", err) }
}

func TestWhoMeetsWhom(t *testing.T) {
	a, other := certs.New(t), certs.New(t)
	certFile, keyFile := a.Issue("server")
	plain := serverOf(t, Server{CertFile: certFile, KeyFile: keyFile}, never(t))
	mutual := serverOf(t, Server{CertFile: certFile, KeyFile: keyFile, ClientCAFile: a.CAFile}, never(t))
	with := func(from *certs.Authority) Client {
		c := Client{CAFile: a.CAFile}
		c.CertFile, c.KeyFile = from.Issue("worker")
		return c
	}
	for name, tt := range map[string]struct {
		client Client
		server *tls.Config
		ok     bool
		shows  string
	}{
		"known":                {Client{CAFile: a.CAFile}, plain, true, ""},
		"unknown":              {Client{CAFile: other.CAFile}, plain, false, ""},
		"the system's":         {Client{}, plain, false, ""},
		"mutual":               {with(a), mutual, true, "worker"},
		"mutual, without":      {Client{CAFile: a.CAFile}, mutual, true, ""}, // whoever answers decides
		"mutual, by a forger":  {with(other), mutual, false, ""},
		"shown without asking": {with(a), plain, true, ""},
	} {
		shown, clientErr, serverErr := meet(t, clientOf(t, tt.client), tt.server)
		if ok := clientErr == nil && serverErr == nil; ok != tt.ok || shown != tt.shows {
			t.Errorf("%s: client %v, server %v, certificate %q", name, clientErr, serverErr, shown)
		}
	}
}

func TestRotation(t *testing.T) {
	a, next := certs.New(t), certs.New(t)
	dir := t.TempDir()
	paths := Server{CertFile: filepath.Join(dir, "crt"), KeyFile: filepath.Join(dir, "key"), ClientCAFile: filepath.Join(dir, "ca")}
	// put replaces the files by those of an authority.
	put := func(from *certs.Authority, name string) {
		t.Helper()
		certFile, keyFile := from.Issue(name)
		for source, target := range map[string]string{certFile: paths.CertFile, keyFile: paths.KeyFile, from.CAFile: paths.ClientCAFile} {
			data, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(target, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(a, "first")
	var refusals []error
	server := serverOf(t, paths, func(err error) { refusals = append(refusals, err) })
	worker := Client{CAFile: a.CAFile, CertFile: paths.CertFile, KeyFile: paths.KeyFile}
	client := clientOf(t, worker)
	meets := func(client *tls.Config, want string) {
		t.Helper()
		if name, clientErr, serverErr := meet(t, client, server); clientErr != nil || serverErr != nil || name != want {
			t.Errorf("client %v, server %v, name %q, want %q", clientErr, serverErr, name, want)
		}
	}
	meets(client, "first")
	put(a, "second, and longer")
	meets(client, "second, and longer")

	// Half of a rotation: the former pair stays, and it is told once.
	if err := os.WriteFile(paths.KeyFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	meets(client, "second, and longer")
	meets(client, "second, and longer")
	if len(refusals) != 1 || !strings.Contains(refusals[0].Error(), "key_file") {
		t.Errorf("refusals: %v", refusals)
	}

	// Another authority: the old clients are no longer let in, new ones are.
	put(next, "third")
	if _, clientErr, _ := meet(t, client, server); clientErr == nil {
		t.Error("a client that trusts the old authority was served by the new one")
	}
	meets(clientOf(t, Client{CAFile: next.CAFile, CertFile: paths.CertFile, KeyFile: paths.KeyFile}), "third")
	if len(refusals) != 1 {
		t.Errorf("refusals: %v", refusals)
	}
}

func TestErrorsNameTheSetting(t *testing.T) {
	a := certs.New(t)
	certFile, keyFile := a.Issue("server")
	_, otherKey := a.Issue("other")
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		client *Client
		server *Server
		says   string
	}{
		{client: &Client{CAFile: "absent"}, says: "ca_file: open"},
		{client: &Client{CAFile: junk}, says: "ca_file: no certificate"},
		{client: &Client{CAFile: keyFile}, says: "ca_file: no certificate"},
		{client: &Client{CertFile: certFile, KeyFile: otherKey}, says: "cert_file, key_file:"},
		{server: &Server{CertFile: "absent", KeyFile: keyFile}, says: "cert_file, key_file: open"},
		{server: &Server{CertFile: certFile, KeyFile: junk}, says: "cert_file, key_file:"},
		{server: &Server{CertFile: certFile, KeyFile: keyFile, ClientCAFile: junk}, says: "client_ca_file: no certificate"},
	} {
		var err error
		if tt.client != nil {
			_, err = tt.client.Config()
		} else {
			_, err = tt.server.Config(nil)
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("got %v, want %q", err, tt.says)
		}
	}
}

func TestOldProtocolsAreRefused(t *testing.T) {
	a := certs.New(t)
	certFile, keyFile := a.Issue("server")
	server := serverOf(t, Server{CertFile: certFile, KeyFile: keyFile}, never(t))
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		client := &tls.Config{RootCAs: a.Pool, ServerName: "localhost", MinVersion: version, MaxVersion: version}
		if _, clientErr, _ := meet(t, client, server); (clientErr == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), clientErr)
		}
	}
}
