package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/configs"
	"chunktide/console"
)

// evil is a text that would be markup if anybody let it.
const evil = `<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"> & "quotes"`

// watchedWorker is a worker with work behind it, and a browser on its console.
type watchedWorker struct {
	*browser
	address  string
	settings []string
	upserts  int
	stop     func()
}

func newWatchedWorker(t *testing.T) *watchedWorker {
	t.Helper()
	b := newBrowser(t)
	w := &watchedWorker{browser: b, settings: append(stack(t), "console.search=true", "backfill.price_per_million_tokens=0.02")}
	w.address, w.stop = background(t, withSettings(w.settings, "run")...)
	w.publish(fmt.Sprintf(`{"op":"upsert","source":"docs","document_id":"evil<b>","chunk_id":"x","text":%s,"version":1,"metadata":{"<i>":"<b>"}}`, mustJSON(evil)))
	for i := range 40 {
		w.publish(fmt.Sprintf(`{"op":"upsert","source":"docs","document_id":"d%d","chunk_id":"c","position":3,"text":"about %s","version":%d,"ts":"2026-01-31T12:00:00Z"}`, i%20, []string{"apples and pears", "bolts and nuts", "ships at sea"}[i%3], i+1))
	}
	w.malformed(`{"op":"upsert","document_id":"d","chunk_id":"c","text":["a secret"],"version":1}`, `{"op":"upsert","text":"a secret`)
	b.viewport(1280, 900, false)
	b.scheme(false)
	b.do(chromedp.Navigate(w.url()))
	return w
}

func (w *watchedWorker) url() string { return "http://" + w.address + "/" }

func (w *watchedWorker) publish(event string) {
	w.t.Helper()
	if code, _, errs := command(w.t, event, withSettings(w.settings, "publish")...); code != exitDone {
		w.t.Fatalf("publish: %s", errs)
	}
	w.upserts++
}

// malformed writes what publish would refuse.
func (w *watchedWorker) malformed(values ...string) {
	w.t.Helper()
	cfg, err := configs.Load("", w.settings, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := newPublisher(cfg, "chunks")
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.close()
	for _, v := range values {
		if err := p.client.ProduceSync(w.t.Context(), &kgo.Record{Topic: "chunks", Value: []byte(v)}).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func mustJSON(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// shown is an element of the page that names a metric.
type shown struct {
	Metric, Labels, Show, As, Value, Text string
}

const allShown = `[...document.querySelectorAll("[data-metric]")].map((el) => ({
	metric: el.dataset.metric, labels: el.dataset.labels ?? "", show: el.dataset.show ?? "value", as: el.dataset.as ?? "count",
	value: el.dataset.value ?? "", text: el.textContent }))`

// differences compares what the page shows with /metrics. What is a difference
// itself (a rate, the last minute), an estimate, or of the process and never at
// rest is not compared; n is how many were.
func differences(page []shown, metrics map[string]*dto.MetricFamily) (n int, out []string) {
	for _, s := range page {
		if s.Show == "rate" || strings.HasPrefix(s.Show, "recent.") || strings.HasPrefix(s.Show, "p") || strings.HasPrefix(s.Metric, "process_") {
			continue
		}
		f := metrics[s.Metric]
		if f == nil {
			out = append(out, fmt.Sprintf("%s is not on /metrics", s.Metric))
			continue
		}
		want, found := 0., false
		for _, m := range f.GetMetric() {
			if !hasLabels(m, s.Labels) {
				continue
			}
			found = true
			switch h := m.GetHistogram(); s.Show {
			case "count":
				want += float64(h.GetSampleCount())
			case "mean":
				want = h.GetSampleSum() / float64(h.GetSampleCount())
			default:
				want += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		n++
		got, err := strconv.ParseFloat(s.Value, 64)
		if !found || err != nil && !math.IsNaN(want) || err == nil && got != want {
			out = append(out, fmt.Sprintf("%s{%s} %s: the page has %q, /metrics %v", s.Metric, s.Labels, s.Show, s.Value, want))
		}
		if text, err := strconv.ParseFloat(strings.ReplaceAll(s.Text, ",", ""), 64); s.As == "count" && (err != nil || text != want) {
			out = append(out, fmt.Sprintf("%s{%s}: the page says %q, /metrics %v", s.Metric, s.Labels, s.Text, want))
		}
	}
	return n, out
}

func hasLabels(m *dto.Metric, labels string) bool {
	for pair := range strings.SplitSeq(labels, ",") {
		name, value, _ := strings.Cut(pair, "=")
		if name != "" && !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == name && l.GetValue() == value }) {
			return false
		}
	}
	return true
}

func TestTheConsoleInABrowser(t *testing.T) {
	w := newWatchedWorker(t)
	w.until("the page has the work", `document.querySelector('[data-metric="chunktide_events_total"]:not([data-show])').dataset.value >= %d`, w.upserts)
	w.until("the page has the dead letters", `document.querySelectorAll("#letters > li").length === 2`)
	t.Run("its numbers are those of the metrics", w.numbers)
	t.Run("dead letters without their text", w.letters)
	t.Run("search", w.search)
	t.Run("themes and contrast", w.themes)
	t.Run("names and landmarks", w.names)
	t.Run("keyboard", w.keyboard)
	t.Run("phone", w.phone)
	if all := w.elsewhere(strings.TrimSuffix(w.url(), "/")); len(all) > 0 {
		t.Errorf("the page asked elsewhere: %q", all)
	}
	if all := w.complained(); len(all) > 0 {
		t.Errorf("the page complains: %q", all)
	}
	// The control: the page's own policy stands in the way of markup, and what is
	// stopped is told.
	if ran := js[string](w.browser, `(() => { try { document.createElement("p").innerHTML = %s; return "done"; } catch (e) { return e.name; } })()`, mustJSON(evil)); ran != "TypeError" {
		t.Errorf("a script that makes markup of text gets %q", ran)
	}
	waitUntil(t, "that is told", func() bool { return len(w.complained()) > 0 })
	t.Run("a worker that goes", w.goes)
}

func (w *watchedWorker) numbers(t *testing.T) {
	before := families(t, w.address)
	var left []string
	level := func(metrics map[string]*dto.MetricFamily) func() bool {
		return func() bool {
			n, all := differences(js[[]shown](w.browser, allShown), metrics)
			if left = all; n < 25 {
				left = append(left, fmt.Sprintf("only %d were compared", n))
			}
			return len(left) == 0
		}
	}
	defer func() {
		if t.Failed() || len(left) > 0 {
			t.Errorf("these differ:\n%s", strings.Join(left, "\n"))
		}
	}()
	waitUntil(t, "the numbers are equal", level(before))
	// The control: when there is one event more, the old numbers are not those
	// of the page, and the new ones are.
	w.publish(`{"op":"upsert","source":"docs","document_id":"one","chunk_id":"more","text":"one more","version":1}`)
	waitUntil(t, "the page has one event more", func() bool {
		_, all := differences(js[[]shown](w.browser, allShown), before)
		return slices.ContainsFunc(all, func(d string) bool { return strings.HasPrefix(d, "chunktide_events_total") })
	})
	waitUntil(t, "the worker has no more to do", func() bool {
		f := families(t, w.address)
		return f["chunktide_backlog_events"].GetMetric()[0].GetGauge().GetValue() == 0 && f["chunktide_buffered_bytes"].GetMetric()[0].GetGauge().GetValue() == 0
	})
	after := families(t, w.address)
	waitUntil(t, "the numbers are equal again", level(after))
	w.until("as many chunks as the index holds", `document.querySelector("#points").textContent === "22"`)
	for id, want := range map[string]string{"alias": "chunks", "version": "Chunktide dev", "ready-text": "Ready", "link-text": "Live", "model": js[string](w.browser, `document.querySelector("#model").textContent`)} {
		if got := js[string](w.browser, `document.querySelector("#%s").textContent`, id); got != want || got == "–" {
			t.Errorf("#%s says %q, want %q", id, got, want)
		}
	}
	if money := js[string](w.browser, `document.querySelector("#money-saved").textContent`); !strings.HasPrefix(money, "0.0") {
		t.Errorf("money saved: %q", money)
	}
	if rows := js[int](w.browser, `document.querySelectorAll("#partitions tr").length`); rows != 2 {
		t.Errorf("%d partitions are shown, there are 2", rows)
	}
}

func (w *watchedWorker) letters(t *testing.T) {
	got := js[string](w.browser, `document.querySelector("#letters").textContent`)
	for _, want := range []string{"wrong_type", "broken_json", "text: list of 1", "broken after byte", "chunks/"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
	if all := js[string](w.browser, `document.body.textContent`); strings.Contains(all, "a secret") {
		t.Error("the page has the text of a dead letter")
	}
}

func (w *watchedWorker) search(t *testing.T) {
	for _, q := range []string{"about apples and pears", evil} {
		w.press("/")
		w.until("the box has the focus", `document.activeElement.id === "query"`)
		js[any](w.browser, `(document.querySelector("#query").value = "", document.querySelector("#hits").replaceChildren(), null)`)
		w.do(chromedp.SendKeys(chromedp.CSS("#query"), q+"\r"))
		w.until("chunks are found", `document.querySelectorAll("#hits > li").length === 5`)
		first := js[string](w.browser, `document.querySelector("#hits > li").innerText`)
		wants := []string{"1.000", "docs", "chunks/", "@", "bow", q}
		if q == evil {
			wants = append(wants, "evil<b> / x", "<i>")
		} else {
			wants = append(wants, "2026-01-31 12:00:00 UTC", " / c")
		}
		for _, want := range wants {
			if !strings.Contains(first, want) {
				t.Errorf("%q is missing in the nearest chunk: %q", want, first)
			}
		}
		js[any](w.browser, `(document.activeElement.blur(), null)`)
	}
	if n := js[int](w.browser, `document.querySelectorAll("#hits script, #hits img, #hits b, #hits i").length`); n != 0 || js[bool](w.browser, `"pwned" in window`) {
		t.Errorf("a text became markup: %d elements", n)
	}
}

// contrasts are the texts that are hard to read: below 4.5 to 1, or 3 to 1 where
// they are large.
const contrasts = `(() => {
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m[3] ?? 1 }; };
	const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
	const luminance = ({ r, g, b }) => { const f = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
	const background = (el) => { const stack = []; for (let e = el; e; e = e.parentElement) stack.unshift(parse(getComputedStyle(e).backgroundColor)); return stack.reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 }); };
	const bad = []; let looked = 0;
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const el = walk.currentNode.parentElement;
		if (!walk.currentNode.textContent.trim() || el.closest(".visually-hidden, dialog:not([open]), noscript, title, .skip, option") || !el.checkVisibility()) continue;
		const style = getComputedStyle(el);
		const under = background(el), colour = over(parse(el.closest("svg") ? style.fill : style.color), under);
		const [hi, lo] = [luminance(colour), luminance(under)].sort((a, b) => b - a);
		const ratio = (hi + 0.05) / (lo + 0.05), size = parseFloat(style.fontSize);
		looked++;
		if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5)) bad.push(el.tagName + "." + el.className + " " + walk.currentNode.textContent.trim().slice(0, 30) + ": " + ratio.toFixed(2));
	}
	return { bad, looked };
})()`

type contrast struct {
	Bad    []string
	Looked int
}

func (w *watchedWorker) themes(t *testing.T) {
	page := func() string { return js[string](w.browser, `getComputedStyle(document.body).backgroundColor`) }
	readable := func(name string) {
		if c := js[contrast](w.browser, contrasts); len(c.Bad) > 0 || c.Looked < 100 {
			t.Errorf("%s: of %d texts these are hard to read: %q", name, c.Looked, c.Bad)
		}
	}
	light := page()
	readable("light")
	w.scheme(true)
	dark := page()
	if light == dark {
		t.Error("a system in the dark changes nothing")
	}
	readable("dark")
	w.press("t") // dark, whatever the system has
	w.scheme(false)
	if page() != dark || js[string](w.browser, `document.querySelector("#theme-name").textContent`) != "dark" {
		t.Error("the reader's dark gives way to the system's light")
	}
	w.press("t")
	if page() != light || js[string](w.browser, `localStorage.getItem("chunktide.theme")`) != "light" {
		t.Error("the reader's light is not kept")
	}
	w.scheme(true)
	w.do(chromedp.Reload())
	if page() != light {
		t.Error("the reader's light is forgotten when the page is loaded again")
	}
	w.until("it is drawn again", `document.documentElement.dataset.seq`)
	js[any](w.browser, `(document.querySelector("h2").style.color = getComputedStyle(document.querySelector("#alias").closest("header")).backgroundColor, document.querySelector("h2").style.color = "#ddd", null)`)
	if c := js[contrast](w.browser, contrasts); len(c.Bad) != 1 {
		t.Errorf("the control, a heading in light grey, is found as %q", c.Bad)
	}
	js[any](w.browser, `(document.querySelector("h2").removeAttribute("style"), null)`)
	w.press("t")
	w.scheme(false)
}

func (w *watchedWorker) names(t *testing.T) {
	for what, find := range map[string]string{
		"controls without a name": `[...document.querySelectorAll("button, input, select, a[href], summary")].filter((el) =>
			!(el.labels?.length || el.getAttribute("aria-label") || el.getAttribute("aria-labelledby") || el.textContent.trim()))`,
		"pictures without a text":            `[...document.querySelectorAll("img:not([alt]), svg:not([aria-label])")]`,
		"sections without a heading":         `[...document.querySelectorAll("section, dialog")].filter((el) => !document.getElementById(el.getAttribute("aria-labelledby"))?.textContent)`,
		"header cells without a scope":       `[...document.querySelectorAll("th:not([scope])")]`,
		"an id that is there more than once": `[...document.querySelectorAll("[id]")].filter((el) => document.querySelectorAll("#" + CSS.escape(el.id)).length > 1)`,
		"texts of a shortcut on no control":  `[...document.querySelectorAll("[aria-keyshortcuts]")].filter((el) => !el.matches("button, input"))`,
		"scrolling parts out of reach":       `[...document.querySelectorAll("*")].filter((el) => /auto|scroll/.test(getComputedStyle(el).overflowY) && el.scrollHeight > el.clientHeight && el.tabIndex < 0 && el !== document.documentElement)`,
	} {
		if all := js[[]string](w.browser, `%s.map((el) => el.outerHTML.slice(0, 120))`, find); len(all) > 0 {
			t.Errorf("%s: %q", what, all)
		}
	}
	for what, n := range map[string]int{"h1": 1, "main": 1, "header": 1, "footer": 1, `html[lang="en"]`: 1, `[role="status"][aria-live="polite"]`: 2, "head > title": 1} {
		if got := js[int](w.browser, `document.querySelectorAll(%s).length`, mustJSON(what)); got != n {
			t.Errorf("%d of %s, want %d", got, what, n)
		}
	}
}

// keyboard reaches everything in the order of the page, and sees where it is.
func (w *watchedWorker) keyboard(t *testing.T) {
	js[any](w.browser, `(document.activeElement?.blur(), scrollTo(0, 0), window.reach = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter((el) => el.checkVisibility()), null)`)
	want := js[int](w.browser, `reach.length`)
	if want < 10 {
		t.Errorf("%d elements take the focus", want)
	}
	for i := range want {
		w.press("\t")
		if at := js[int](w.browser, `reach.indexOf(document.activeElement)`); at != i {
			t.Fatalf("Tab %d leads to element %d: %s", i+1, at, js[string](w.browser, `document.activeElement.outerHTML.slice(0, 120)`))
		}
		if js[string](w.browser, `getComputedStyle(document.activeElement).outlineStyle`) == "none" {
			t.Errorf("the focus cannot be seen on %s", js[string](w.browser, `document.activeElement.outerHTML.slice(0, 120)`))
		}
	}
	js[any](w.browser, `(document.querySelector("#help-open").focus(), null)`)
	w.press("?")
	w.until("help is open", `document.querySelector("#help").open`)
	w.press("t")
	if js[string](w.browser, `document.querySelector("#theme-name").textContent`) != "system" {
		t.Error("a key goes through an open dialog")
	}
	w.press("\x1b")
	w.until("help is closed", `!document.querySelector("#help").open && document.activeElement.id === "help-open"`)
	js[any](w.browser, `(document.activeElement.blur(), null)`)
}

func (w *watchedWorker) phone(t *testing.T) {
	w.viewport(360, 740, true)
	defer w.viewport(1280, 900, false)
	w.until("it is drawn anew", `document.documentElement.dataset.seq > %d`, js[int](w.browser, `Number(document.documentElement.dataset.seq)`))
	if width := js[int](w.browser, `document.documentElement.scrollWidth`); width > 360 {
		t.Errorf("the page is %d wide on a screen of 360", width)
	}
	wide := js[[]string](w.browser, `[...document.querySelectorAll("body *")].filter((el) => el.checkVisibility() && !el.closest(".visually-hidden, .skip, svg") && (el.getBoundingClientRect().right > 360.5 || el.getBoundingClientRect().left < -0.5)).map((el) => el.outerHTML.slice(0, 100))`)
	if len(wide) > 0 {
		t.Errorf("these leave the screen: %q", wide)
	}
	small := js[[]string](w.browser, `[...document.querySelectorAll("button, input, select")].filter((el) => el.checkVisibility() && el.getBoundingClientRect().height < 36).map((el) => el.outerHTML.slice(0, 100))`)
	if len(small) > 0 {
		t.Errorf("these are small for a thumb: %q", small)
	}
}

// A page whose worker is gone says so, and finds it again.
func (w *watchedWorker) goes(t *testing.T) {
	w.stop()
	w.until("it says that the worker is gone", `document.documentElement.dataset.link === "lost" && document.querySelector("#link-text").textContent.startsWith("Reconnecting")`)
	events := js[string](w.browser, `document.querySelector('[data-metric="chunktide_events_total"]:not([data-show])').textContent`)
	if events == "–" || events == "" {
		t.Errorf("what was known is gone: %q", events)
	}
	settings := append(slices.Clone(w.settings), "admin.address="+w.address)
	background(t, withSettings(settings, "run")...)
	w.until("it is live again, with the new worker's numbers", `document.documentElement.dataset.link === "live" && document.querySelector('[data-metric="chunktide_events_total"]:not([data-show])').textContent === "0"`)
}

// Where the port wants a token the page asks for it, until it is the right one.
func TestTheConsoleAsksForTheToken(t *testing.T) {
	b := newBrowser(t)
	page := console.New(b.ctx, console.Options{Config: console.DefaultConfig(), Metrics: prometheus.NewRegistry(), Alias: "docs", Logger: slog.New(slog.DiscardHandler)})
	mux := http.NewServeMux()
	for pattern, h := range page.Public() {
		mux.Handle(pattern, h)
	}
	for pattern, h := range page.Routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer right" {
				http.Error(w, "a token, please", http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	b.do(chromedp.Navigate(server.URL))
	for _, token := range []string{"wrong", "right"} {
		b.until("the page asks for a token", `document.querySelector("#signin").open && document.activeElement.id === "token"`)
		if shown := js[string](b, `document.querySelector("#alias").textContent`); shown != "–" {
			t.Errorf("without the token the page knows %q", shown)
		}
		b.press(token + "\r")
		b.until("it has tried it", `document.querySelector("#token").value === ""`)
	}
	live := `document.documentElement.dataset.link === "live" && document.querySelector("#alias").textContent === "docs" && !document.querySelector("#signin").open`
	b.until("it is live", "%s", live)
	b.do(chromedp.Reload())
	b.until("it is live again, and did not ask", "%s", live)
}

// A migration that is under way is on the page, and the collection that readers
// search is told from the new one; what cannot be asked for is said.
func TestTheConsoleShowsAMigration(t *testing.T) {
	b := newBrowser(t)
	settings := stack(t)
	address, _ := background(t, withSettings(settings, "run")...)
	for i := range 7 {
		event := fmt.Sprintf(`{"op":"upsert","source":"docs","document_id":"d","chunk_id":"c%d","text":"text %d","version":1}`, i, i)
		if code, _, errs := command(t, event, withSettings(settings, "publish")...); code != exitDone {
			t.Fatalf("publish: %s", errs)
		}
	}
	b.do(chromedp.Navigate("http://" + address + "/"))
	b.until("seven chunks are searchable", `document.querySelector("#points").textContent === "7" && document.querySelectorAll("#collections > li").length === 1`)
	if js[int](b, `document.querySelector("#migrations").children.length`) != 0 {
		t.Error("there is a migration before any")
	}
	background(t, withSettings(append(slices.Clone(settings), newModelSetting), "migrate", "start", "--from", "topic", "--rejects", t.TempDir()+"/rejects")...)
	b.until("the migration follows, level", `/following.*7 points, the old one has 7 · 0 records behind, 1 worker/.test(document.querySelector("#migrations").textContent)`)
	for name, want := range map[string]int{"#collections > li": 2, "#collections .badge.good": 1, "#migrations > li": 1} {
		if n := js[int](b, "document.querySelectorAll(%s).length", mustJSON(name)); n != want {
			t.Errorf("%d of %s, want %d", n, name, want)
		}
	}
	if serving := js[string](b, `document.querySelector("#collections .badge.good").closest("li").textContent + document.querySelector("#collection").textContent`); strings.Contains(serving, "new-bow") {
		t.Errorf("the new collection is said to be served: %q", serving)
	}
}

// Without the setting there is neither a search box nor an answer, and without
// a console there is no page.
func TestTheConsoleShowsWhatIsSet(t *testing.T) {
	status := func(address, method, path string) int {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(`{"text":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	settings := stack(t)
	plain, stop := background(t, withSettings(settings, "run")...)
	if page, search := status(plain, "GET", "/"), status(plain, "POST", "/api/search"); page != 200 || search == 200 {
		t.Errorf("as it is by default: page %d, search %d", page, search)
	}
	if got := status(plain, "GET", "/api/snapshot"); got != 200 {
		t.Errorf("snapshot: %d", got)
	}
	stop()
	searching, stop := background(t, withSettings(append(slices.Clone(settings), "console.search=true"), "run")...)
	if search := status(searching, "POST", "/api/search"); search != 200 {
		t.Errorf("where it is set: search %d", search)
	}
	stop()
	off, _ := background(t, withSettings(append(slices.Clone(settings), "console.enabled=false"), "run")...)
	if page, metrics := status(off, "GET", "/"), status(off, "GET", "/metrics"); page != 404 || metrics != 200 {
		t.Errorf("without a console: page %d, metrics %d", page, metrics)
	}
}
