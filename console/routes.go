package console

import (
	"embed"
	"io/fs"
	"net"
	"net/http"
	"net/netip"

	"chunktide/hostport"
)

//go:embed web
var embedded embed.FS

// assets are the files of the page, each under the path it is asked for, and
// their types. There is nothing else.
var assets = map[string]struct{ file, kind string }{
	"/{$}":                {"index.html", "text/html; charset=utf-8"},
	"/console/style.css":  {"style.css", "text/css; charset=utf-8"},
	"/console/theme.js":   {"theme.js", "text/javascript; charset=utf-8"},
	"/console/main.js":    {"main.js", "text/javascript; charset=utf-8"},
	"/console/stream.js":  {"stream.js", "text/javascript; charset=utf-8"},
	"/console/metrics.js": {"metrics.js", "text/javascript; charset=utf-8"},
	"/console/charts.js":  {"charts.js", "text/javascript; charset=utf-8"},
	"/console/cards.js":   {"cards.js", "text/javascript; charset=utf-8"},
	"/console/search.js":  {"search.js", "text/javascript; charset=utf-8"},
	"/console/dom.js":     {"dom.js", "text/javascript; charset=utf-8"},
	"/console/icon.svg":   {"icon.svg", "image/svg+xml"},
	"/favicon.ico":        {"icon.svg", "image/svg+xml"},
}

// Routes are the handlers that tell something of the worker, by pattern. They
// want whatever protection the port has.
func (c *Console) Routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		"GET /api/stream":   c.guarded(c.serveStream),
		"GET /api/snapshot": c.guarded(c.serveSnapshot),
	}
	if c.searches() {
		routes["POST /api/search"] = c.guarded(c.serveSearch)
	}
	return routes
}

// Public are the handlers of the page itself, which tells nothing of the
// worker: a browser that opens it has no way to send a token, so the page asks
// for one, and sends it with what it reads.
func (c *Console) Public() map[string]http.Handler {
	routes := map[string]http.Handler{}
	for path, a := range assets {
		content, err := fs.ReadFile(embedded, "web/"+a.file)
		if err != nil {
			panic(err) // a file that the compiler did not embed; any test finds it
		}
		routes["GET "+path] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			secure(w.Header())
			w.Header().Set("Content-Type", a.kind)
			w.Header().Set("Cache-Control", "no-cache") // another version may come with the next start
			_, _ = w.Write(content)
		})
	}
	return routes
}

// policy lets the page load its own files, talk to its own port, and nothing
// else; and its scripts make no markup of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// guarded keeps out what other pages in the same browser send.
func (c *Console) guarded(next http.HandlerFunc) http.Handler {
	own := http.NewCrossOriginProtection()
	return own.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		w.Header().Set("Cache-Control", "no-store")
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
			http.Error(w, "this is for the console's own page", http.StatusForbidden)
			return
		}
		if rebound(r) {
			http.Error(w, "this port is for this machine: ask for it as localhost or by its address", http.StatusMisdirectedRequest)
			return
		}
		next(w, r)
	}))
}

// rebound reports whether a browser may have been led to this machine by
// somebody else's name. A token stands for itself.
func rebound(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || r.Header.Get("Authorization") != "" {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return false
	}
	return !hostport.CannotBeRebound(r.Host)
}
