package console

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// port is the admin port, as far as the console sees it.
func port(c *Console) *http.ServeMux {
	mux := http.NewServeMux()
	for _, routes := range []map[string]http.Handler{c.Routes(), c.Public()} {
		for pattern, h := range routes {
			mux.Handle(pattern, h)
		}
	}
	return mux
}

func searching(search func(context.Context, string, int) (Found, error)) func(*Options) {
	return func(o *Options) {
		o.Config.Search = true
		o.Search = search
	}
}

func askFor(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c, _ := newTestConsole(ctx, searching(func(context.Context, string, int) (Found, error) { return Found{}, nil }))
	h := port(c)
	for path, a := range assets {
		w := askFor(h, http.MethodGet, strings.TrimSuffix(path, "{$}"), "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != a.kind || w.Body.Len() == 0 {
			t.Errorf("%s: %d %s, %d bytes", path, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		guards(t, path, w)
	}
	w := askFor(h, http.MethodPost, "/api/search", `{"text":"x"}`, "Content-Type", "application/json")
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("search: %d %v", w.Code, w.Header())
	}
	guards(t, "search", w)
	if w := askFor(h, http.MethodGet, "/nothing", ""); w.Code != http.StatusNotFound {
		t.Errorf("a path that is none: %d", w.Code)
	}
}

func guards(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	csp := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: the policy lacks %s", what, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || strings.Contains(csp, "http") {
		t.Errorf("%s: the policy allows too much: %s", what, csp)
	}
	if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("X-Frame-Options") != "DENY" {
		t.Errorf("%s: %v", what, w.Header())
	}
}

var (
	address = regexp.MustCompile(`(?i)\b(https?|wss?|ftp):|url\(|@import|["'(]//`)
	markup  = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|srcdoc`)
	inline  = regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script(?:[^>]*)>[^<]`)
	// namespace is a name, and nothing is asked for there.
	namespace = "http://www.w3.org/2000/svg"
)

// The page asks no other host for anything, makes no markup of text, and has
// nothing inline: what the policy forbids is not there to begin with.
func TestThePageKeepsToItself(t *testing.T) {
	files := map[string]bool{}
	for _, a := range assets {
		files[a.file] = true
	}
	err := fs.WalkDir(embedded, "web", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(embedded, path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(content), namespace, "")
		for what, pattern := range map[string]*regexp.Regexp{"an address": address, "markup of text": markup} {
			if found := pattern.FindString(text); found != "" {
				t.Errorf("%s has %s: %q", path, what, found)
			}
		}
		if found := inline.FindString(text); strings.HasSuffix(path, ".html") && found != "" {
			t.Errorf("%s has something inline: %q", path, found)
		}
		if name := strings.TrimPrefix(path, "web/"); !files[name] {
			t.Errorf("%s is embedded and not served", name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for text, pattern := range map[string]*regexp.Regexp{
		`<script src="https://cdn.example/x.js">`: address, `background: url(x.png)`: address, `import "//cdn.example/x.js"`: address,
		`el.innerHTML = text`: markup, `<p style="color: red">`: inline, `<p onclick="x()">`: inline, `<script>x()</script>`: inline,
	} {
		if !pattern.MatchString(text) {
			t.Errorf("%q is not found", text)
		}
	}
}

// Each element that a script looks up by its id is on the page, once.
func TestTheScriptsFindTheirElements(t *testing.T) {
	page, err := fs.ReadFile(embedded, "web/index.html")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		ids[m[1]]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s is the id of %d elements", id, n)
		}
	}
	scripts, looked := []string{"main.js", "cards.js", "search.js"}, 0
	for _, name := range scripts {
		script, err := fs.ReadFile(embedded, "web/"+name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\$\("([^"]+)"\)`).FindAllStringSubmatch(string(script), -1) {
			if looked++; ids[m[1]] == 0 {
				t.Errorf("%s looks for #%s, which is not on the page", name, m[1])
			}
		}
	}
	if looked < 40 {
		t.Errorf("%d look-ups were found", looked)
	}
}

func TestSearchIsOffUnlessItIsSet(t *testing.T) {
	asked := 0
	find := func(_ context.Context, text string, limit int) (Found, error) {
		asked++
		return Found{Model: "m", Hits: []Hit{{ChunkID: text, Version: int64(limit), Text: "<script>alert(1)</script>"}}}, nil
	}
	off, _ := newTestConsole(t.Context(), func(o *Options) { o.Search = find })
	if w := askFor(port(off), http.MethodPost, "/api/search", `{"text":"x"}`, "Content-Type", "application/json"); w.Code != http.StatusNotFound || asked != 0 {
		t.Errorf("search is off: %d, and was asked %d times", w.Code, asked)
	}
	on, _ := newTestConsole(t.Context(), searching(find))
	w := askFor(port(on), http.MethodPost, "/api/search", `{"text":" how? ","limit":3}`, "Content-Type", "application/json; charset=utf-8")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"chunk_id":"how?"`) || !strings.Contains(w.Body.String(), `"version":3`) {
		t.Errorf("search is on: %d %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "<script>") {
		t.Errorf("markup is not escaped in %s", w.Body)
	}
}

func TestSearchRefusesWhatIsNoQuestion(t *testing.T) {
	c, _ := newTestConsole(t.Context(), searching(func(_ context.Context, text string, _ int) (Found, error) {
		if text == "fail" {
			return Found{}, errors.New("the index does not answer")
		}
		return Found{}, nil
	}))
	h := port(c)
	for name, tt := range map[string]struct {
		body   string
		header []string
		want   int
	}{
		"a question":            {body: `{"text":"x"}`, want: http.StatusOK},
		"no text":               {body: `{"text":"  "}`, want: http.StatusBadRequest},
		"too long":              {body: `{"text":"` + strings.Repeat("ü", queryRunes+1) + `"}`, want: http.StatusBadRequest},
		"far too long":          {body: `{"text":"` + strings.Repeat("x", queryBytes) + `"}`, want: http.StatusBadRequest},
		"too many":              {body: `{"text":"x","limit":51}`, want: http.StatusBadRequest},
		"none":                  {body: `{"text":"x","limit":-1}`, want: http.StatusBadRequest},
		"an unknown field":      {body: `{"text":"x","filter":{}}`, want: http.StatusBadRequest},
		"two questions":         {body: `{"text":"x"}{"text":"y"}`, want: http.StatusBadRequest},
		"no JSON":               {body: `text=x`, want: http.StatusBadRequest},
		"a form":                {body: `{"text":"x"}`, header: []string{"Content-Type", "text/plain"}, want: http.StatusUnsupportedMediaType},
		"from another site":     {body: `{"text":"x"}`, header: []string{"Sec-Fetch-Site", "cross-site"}, want: http.StatusForbidden},
		"from another port":     {body: `{"text":"x"}`, header: []string{"Sec-Fetch-Site", "same-site"}, want: http.StatusForbidden},
		"from the page":         {body: `{"text":"x"}`, header: []string{"Sec-Fetch-Site", "same-origin"}, want: http.StatusOK},
		"of another origin":     {body: `{"text":"x"}`, header: []string{"Origin", "http://evil.example"}, want: http.StatusForbidden},
		"an index that is away": {body: `{"text":"fail"}`, want: http.StatusBadGateway},
	} {
		w := askFor(h, http.MethodPost, "/api/search", tt.body, append([]string{"Content-Type", "application/json"}, tt.header...)...)
		if w.Code != tt.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, tt.want)
		}
	}
	if w := askFor(h, http.MethodGet, "/api/search", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

// Searches wait for each other, and not for ever.
func TestFewSearchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		c, _ := newTestConsole(t.Context(), searching(func(ctx context.Context, _ string, _ int) (Found, error) {
			if n := now.Add(1); n > maxSearches {
				most.Store(n)
			}
			<-ctx.Done()
			now.Add(-1)
			return Found{}, ctx.Err()
		}))
		h := port(c)
		codes := make(chan int, 6)
		for range 6 {
			go func() {
				codes <- askFor(h, http.MethodPost, "/api/search", `{"text":"x"}`, "Content-Type", "application/json").Code
			}()
		}
		begun := time.Now()
		synctest.Wait()
		if n := now.Load(); n != maxSearches {
			t.Errorf("%d are under way, want %d", n, maxSearches)
		}
		for range 6 {
			if code := <-codes; code != http.StatusBadGateway && code != http.StatusServiceUnavailable {
				t.Errorf("an answer after all: %d", code)
			}
		}
		if n := most.Load(); n > 0 || time.Since(begun) != searchTimeout {
			t.Errorf("%d at once; the last had its answer after %s", n, time.Since(begun))
		}
	})
}

// A name that somebody else lets point to this machine opens nothing; neither
// an address nor localhost is one.
func TestNamesOfOthersAreRefused(t *testing.T) {
	c, _ := newTestConsole(t.Context(), searching(func(context.Context, string, int) (Found, error) { return Found{}, nil }))
	h := port(c)
	for name, tt := range map[string]struct {
		local, host, token string
		want               int
	}{
		"localhost":                {"127.0.0.1:9470", "localhost:9470", "", http.StatusOK},
		"an address":               {"127.0.0.1:9470", "127.0.0.1:9470", "", http.StatusOK},
		"an address of six":        {"[::1]:9470", "[::1]:9470", "", http.StatusOK},
		"below localhost":          {"127.0.0.1:9470", "Worker.LOCALHOST.:80", "", http.StatusOK},
		"somebody's name":          {"127.0.0.1:9470", "evil.example:9470", "", http.StatusMisdirectedRequest},
		"somebody's name, mapped":  {"[::ffff:127.0.0.1]:9470", "evil.example", "", http.StatusMisdirectedRequest},
		"a look-alike":             {"127.0.0.1:9470", "localhost.evil.example", "", http.StatusMisdirectedRequest},
		"somebody's name, a token": {"127.0.0.1:9470", "ops.example", "Bearer x", http.StatusOK},
		"a name in the network":    {"10.1.2.3:9470", "worker-0.example:9470", "", http.StatusOK},
	} {
		local, err := net.ResolveTCPAddr("tcp", tt.local)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, local), http.MethodPost, "/api/search", strings.NewReader(`{"text":"x"}`))
		r.Host = tt.host
		r.Header.Set("Content-Type", "application/json")
		if tt.token != "" {
			r.Header.Set("Authorization", tt.token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: %d, want %d", name, w.Code, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil || DefaultConfig().Search {
		t.Errorf("%v, %+v", err, DefaultConfig())
	}
	if err := (Config{}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "freshness_objective") {
		t.Error(err)
	}
}
