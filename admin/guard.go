package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"strings"

	"chunktide/hostport"
)

// guard decides who may ask.
type guard struct{ cfg Config }

var (
	errToken       = errors.New("the token is missing or wrong: send it as Authorization: Bearer TOKEN (admin.token)")
	errCertificate = errors.New("this needs a client certificate (admin.tls.client_ca_file)")
	errNoToken     = errors.New("this is not shown to other machines without a token: set admin.token")
	errRebound     = errors.New("this port is for this machine: ask for it as localhost or by its address, or set admin.token")
)

// refusal says why the sender of r may not see what is protected; nil if it
// may.
func (g guard) refusal(r *http.Request) error {
	if g.cfg.TLS.ClientCAFile != "" && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return errCertificate
	}
	if g.cfg.Token == "" && g.cfg.TLS.ClientCAFile != "" {
		return nil
	}
	if g.cfg.Token != "" {
		if !g.tokenIn(r) {
			return errToken
		}
		return nil
	}
	host, _, err := net.SplitHostPort(g.cfg.Address)
	if err != nil || !hostport.IsLocal(host) {
		return errNoToken
	}
	if !hostport.CannotBeRebound(r.Host) {
		return errRebound
	}
	return nil
}

// tokenIn compares digests, in a time that says nothing about the token.
func (g guard) tokenIn(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got, want := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.cfg.Token.Reveal()))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}

// protect shows next to those who may see it.
func (g guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.refusal(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errors.Is(err, errRebound):
			http.Error(w, err.Error(), http.StatusMisdirectedRequest)
		case errors.Is(err, errToken):
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, err.Error(), http.StatusUnauthorized)
		default:
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
}

// admit is before everything: it bounds bodies, keeps out what other sites'
// pages send, and tells browsers to do nothing else with the answers.
func (g guard) admit(next http.Handler) http.Handler {
	bounded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyBytes)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(bounded)
}
