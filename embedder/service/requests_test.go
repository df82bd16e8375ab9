package service

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"chunktide/embedder"
)

func TestBadRequestsSayWhy(t *testing.T) {
	e := bow("a")
	s := start(t, func(c *Config) {
		c.RequestTexts, c.RequestTokens, c.RequestBytes = 3, 10, 400
	}, nil, e, bow("b"))
	for request, want := range map[string]struct {
		status int
		says   string
	}{
		``:                            {400, "JSON object"},
		`[]`:                          {400, ""},
		`{"input":"x"`:                {400, "JSON object"},
		`{"input":"x"} {}`:            {400, "JSON object"},
		`{"model":"a"}`:               {400, "input is missing"},
		`{"input":null}`:              {400, "input is missing"},
		`{"input":7}`:                 {400, "neither a string nor a list"},
		`{"input":[]}`:                {400, "empty"},
		`{"input":["x",7]}`:           {400, "strings only"},
		`{"input":["x",null]}`:        {400, "strings only"},
		`{"input":[7,"x"]}`:           {400, "whole number"},
		`{"input":[7,null]}`:          {400, "whole number"},
		`{"input":[1.5]}`:             {400, "whole number"},
		`{"input":[[1],"x"]}`:         {400, "such lists only"},
		`{"input":[[1],[[2]]]}`:       {400, "whole number"},
		`{"input":[true]}`:            {400, "must hold"},
		`{"input":["a","b","c","d"]}`: {413, "serve.request_texts"},
		`{"input":"` + strings.Repeat("w ", 11) + `"}`:              {413, "serve.request_tokens"},
		`{"input":[` + strings.Repeat("1,", 10) + `1]}`:             {413, "serve.request_tokens"},
		`{"input":[[1,1,1,1,1],[1,1,1,1,1],[1]]}`:                   {413, "serve.request_tokens"},
		`{"input":"` + strings.Repeat("x", 400) + `"}`:              {413, "serve.request_bytes"},
		`{"input":"x","encoding_format":"hex"}`:                     {400, "base64"},
		`{"input":"x","input_type":"poem"}`:                         {400, "query, document"},
		`{"input":"x","instruction":"translate"}`:                   {400, "instruction"},
		`{"input":"x","dimensions":-1}`:                             {400, "dimensions"},
		`{"input":"x","dimensions":8}`:                              {400, "cannot be cut"},
		`{"input":"x","dimensions":"8"}`:                            {400, "dimensions"},
		`{"input":"x","model":"c"}`:                                 {404, "there are a, b"},
		`{"input":[[300]],"model":"a"}`:                             {422, "token 300"},
		`{"input":"x","model":"a","user":"somebody"}`:               {200, ""},
		`{"input":["x","   "],"model":"a"}`:                         {422, "input 1: the text has no words"},
		`{"input":["x",""],"model":"a","input_type":"document"}`:    {422, "no words"},
		`{"input":["x","y"],"model":"b","encoding_format":"float"}`: {200, ""},
	} {
		w := post(t.Context(), s, "/v1/embeddings", request)
		got := read(t, w)
		if w.Code != want.status || !strings.Contains(got.Error.Message, want.says) {
			t.Errorf("%.60s: %d %q, want %d with %q", request, w.Code, got.Error.Message, want.status, want.says)
		}
		if w.Code != http.StatusOK && (got.Error.Type == "" || got.Error.Code == "" || w.Header().Get(HeaderVersion) != "") {
			t.Errorf("%.60s: an error without type or code, or with a recipe: %s", request, w.Body)
		}
	}
	got := read(t, post(t.Context(), s, "/v1/embeddings", `{"input":["  ","x",""]}`))
	if len(got.Error.Rejected) != 2 || got.Error.Rejected[1].Index != 2 || got.Error.Rejected[0].Reason != "bad_vector" {
		t.Errorf("the refused texts are %+v", got.Error.Rejected)
	}
}

func TestTEIRequests(t *testing.T) {
	e := openTiny(t, func(c *embedder.Config) { c.MaxTokens = 8 })
	s := start(t, nil, nil, e)
	long := strings.Repeat("index ", 20)
	for request, status := range map[string]int{
		`{"inputs":"the index"}`:                                         200,
		`{"inputs":"` + long + `"}`:                                      200, // as the recipe says
		`{"inputs":"` + long + `","truncate":true}`:                      200,
		`{"inputs":["x","` + long + `"],"truncate":false}`:               413,
		`{"inputs":"x","truncate":false,"truncation_direction":"Right"}`: 200,
		`{"inputs":"x","truncation_direction":"left"}`:                   400,
		`{"inputs":"x","normalize":false}`:                               400,
		`{"inputs":"x","prompt_name":"poem"}`:                            400,
		`{"inputs":"x","dimensions":8}`:                                  200,
		`{"inputs":"x","parameters":{}}`:                                 400,
		`{"inputs":[]}`:                                                  400,
	} {
		w := post(t.Context(), s, "/embed", request)
		if w.Code != status {
			t.Errorf("%.60s: %d %s, want %d", request, w.Code, w.Body, status)
		}
		var failed struct{ Error, Error_type string }
		if status != http.StatusOK && (json.Unmarshal(w.Body.Bytes(), &failed) != nil || failed.Error == "" || failed.Error_type != "Validation") {
			t.Errorf("%.60s: %s", request, w.Body)
		}
	}
	strict := start(t, nil, nil, openTiny(t, func(c *embedder.Config) { c.MaxTokens, c.Overflow = 8, embedder.OverflowError }))
	for request, status := range map[string]int{
		`{"inputs":"` + long + `"}`: 413, `{"inputs":"x","truncate":true}`: 400, `{"inputs":"x"}`: 200,
	} {
		if w := post(t.Context(), strict, "/embed", request); w.Code != status {
			t.Errorf("%.60s where overflow is error: %d %s, want %d", request, w.Code, w.Body, status)
		}
	}
}

func TestTheKeyIsAskedFor(t *testing.T) {
	s := start(t, func(c *Config) { c.APIKey = "hunter2" }, nil, bow("a"))
	for header, status := range map[string]int{"": 401, "Bearer ": 401, "Bearer hunter": 401, "hunter2": 401, "Bearer hunter2": 200} {
		for _, path := range []string{"/v1/models", "/info"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set("Authorization", header)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != status || strings.Contains(w.Body.String(), "hunter2") {
				t.Errorf("%s with %q: %d %s, want %d", path, header, w.Code, w.Body, status)
			}
		}
	}
	for _, path := range []string{"/health", "/metrics"} {
		if w := get(t, s, path); w.Code != http.StatusOK {
			t.Errorf("%s needs a key: %d", path, w.Code)
		}
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for key, change := range map[string]func(*Config){
		"address":      func(c *Config) { c.Address = "nowhere" },
		"api_key":      func(c *Config) { c.Address = "0.0.0.0:9471" },
		"tls":          func(c *Config) { c.TLS.KeyFile = "x" },
		"models":       func(c *Config) { c.Models = []embedder.Config{{Encoder: "nonsense"}} },
		"services":     func(c *Config) { c.Models = []embedder.Config{{Encoder: embedder.EncoderRemote}} },
		"aliases":      func(c *Config) { c.Aliases = []string{""} },
		"alias_ttl":    func(c *Config) { c.AliasTTL = -1 },
		"in_flight":    func(c *Config) { c.InFlight = 0 },
		"queue_tokens": func(c *Config) { c.QueueTokens = c.RequestTokens - 1 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	open := DefaultConfig()
	open.Address, open.AllowUnauthenticated = "0.0.0.0:9471", true
	if err := open.Validate(); err != nil {
		t.Error(err)
	}
	x := &index{}
	for says, o := range map[string]Options{
		"no encoder":    {},
		"given twice":   {Encoders: []embedder.SequenceEncoder{bow("a"), bow("a")}},
		"also the name": {Encoders: []embedder.SequenceEncoder{bow("docs")}, Aliases: x},
		"default_model": {Encoders: []embedder.SequenceEncoder{bow("a")}},
	} {
		cfg := DefaultConfig()
		cfg.Aliases = []string{"docs"}
		if says == "default_model" {
			cfg.DefaultModel = "nonsense"
		}
		if _, err := New(cfg, o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// No body may bring the service down, and whatever it answers is whole.
func FuzzEmbeddings(f *testing.F) {
	for _, seed := range []string{
		`{"input":"x"}`, `{"input":["x","y"],"encoding_format":"base64"}`, `{"input":[1,2]}`, `{"input":[[1],[2,3]]}`,
		`{"input":[[1],"x"]}`, `{"input":["x",[1]]}`, `{"input":[1e99]}`, `{"input":["\ud800"]}`, `{"INPUT":"x"}`, `{"input":[ ]}`, `{"input":[-]}`,
	} {
		f.Add(seed)
	}
	s := start(f, func(c *Config) { c.Linger, c.RequestTexts, c.RequestTokens = 0, 16, 64 }, nil, bow("a"))
	f.Fuzz(func(t *testing.T, request string) {
		w := post(t.Context(), s, "/v1/embeddings", request)
		if !slices.Contains([]int{200, 400, 404, 413, 422}, w.Code) {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		got := read(t, w)
		if w.Code != http.StatusOK {
			if got.Error.Message == "" {
				t.Errorf("no message: %s", w.Body)
			}
			return
		}
		for i, d := range got.Data {
			if v := vector(t, d.Embedding); d.Index != i || len(v) != 256 {
				t.Errorf("entry %d has index %d and %d values", i, d.Index, len(v))
			}
		}
		if len(got.Data) == 0 {
			t.Error("no vector, and no error")
		}
	})
}
