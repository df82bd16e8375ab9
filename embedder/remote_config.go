package embedder

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"time"

	"chunktide/chunk"
	"chunktide/hostport"
)

// EncoderRemote is an encoder elsewhere, behind HTTP.
const EncoderRemote = "remote"

// The APIs of a remote encoder.
const (
	APIChunktide = "chunktide" // chunktide serve
	APIOpenAI    = "openai"    // POST URL/embeddings
	APITEI       = "tei"       // POST URL/embed
)

// RemoteConfig says where a remote encoder is and how to use it.
type RemoteConfig struct {
	// URL is the service's, without the endpoint: http://encoder:9471,
	// https://api.openai.com/v1.
	URL string `mapstructure:"url"`
	// API is chunktide, openai or tei.
	API string `mapstructure:"api"`
	// Model is what requests name: a model, or for Chunktide's service an alias
	// too, which is asked once, at the start, what it serves. Empty for Chunktide:
	// the service's default. TEI has one model, and heeds none.
	Model string `mapstructure:"model"`
	// APIKey is sent as a bearer token.
	APIKey chunk.Secret `mapstructure:"api_key"`
	// AllowInsecureAPIKey sends the key without TLS to another machine.
	AllowInsecureAPIKey bool `mapstructure:"allow_insecure_api_key"`

	// Probe is the fingerprint of the model behind openai and tei, which do
	// not say what they run; Chunktide's service does. Without it the encoder
	// does not start, and says what to set.
	Probe string `mapstructure:"probe"`
	// ProbeTolerance is how far a probe's vector may be from the pinned one, as
	// a part of its length. Kernels and half precision differ by up to 0.003,
	// int8 weights by more than 0.05, another model by about 1.
	ProbeTolerance float64 `mapstructure:"probe_tolerance"`
	// ProbeRequests sends one probe with every request, so that a model that is
	// exchanged behind its name is noticed before any of its vectors is used.
	ProbeRequests bool `mapstructure:"probe_requests"`

	// RequestTexts and RequestTokens bound a request; tokens are estimated.
	RequestTexts  int `mapstructure:"request_texts"`
	RequestTokens int `mapstructure:"request_tokens"`
	// Concurrency is how many requests are under way at once, over all calls.
	Concurrency int `mapstructure:"concurrency"`
	// RequestsPerMinute and TokensPerMinute are this worker's share of what the
	// service allows; tokens are estimated. 0: no limit of its own, only the
	// pauses that the service asks for (429 with Retry-After).
	RequestsPerMinute int `mapstructure:"requests_per_minute"`
	TokensPerMinute   int `mapstructure:"tokens_per_minute"`
	// Timeout bounds one attempt, and StartTimeout the whole start.
	Timeout      time.Duration `mapstructure:"timeout"`
	StartTimeout time.Duration `mapstructure:"start_timeout"`
	Retry        Retry         `mapstructure:"retry"`
}

// Retry is the wait between attempts: it doubles from Initial to Max, each
// time varied by up to half.
type Retry struct {
	// Initial is the first wait, and Max the longest.
	Initial time.Duration `mapstructure:"initial"`
	Max     time.Duration `mapstructure:"max"`
}

func defaultRemote() RemoteConfig {
	return RemoteConfig{
		API: APIChunktide, ProbeTolerance: 0.01, ProbeRequests: true,
		RequestTexts: 32, RequestTokens: 8192, Concurrency: 8,
		Timeout: 60 * time.Second, StartTimeout: 60 * time.Second,
		Retry: Retry{Initial: 200 * time.Millisecond, Max: 10 * time.Second},
	}
}

// probes says whether the model must be known by its vectors.
func (c RemoteConfig) probes() bool { return c.API != APIChunktide }

// validateRemote returns every problem of a remote encoder's settings.
func (c Config) validateRemote() (errs []error) {
	r := c.Remote
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad("remote.url: want http://HOST:PORT or https://HOST, and the path before the endpoint, if any")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		bad("remote.url: must hold no user, query or fragment; a key goes to remote.api_key")
	case r.APIKey != "" && u.Scheme == "http" && !r.AllowInsecureAPIKey && !hostport.IsLocal(u.Hostname()):
		bad("remote.api_key: would cross the network in clear: use https, or set remote.allow_insecure_api_key if you must")
	}
	if !slices.Contains([]string{APIChunktide, APIOpenAI, APITEI}, r.API) {
		bad("remote.api: %q is none of chunktide, openai, tei", r.API)
	}
	if r.API == APIOpenAI && r.Model == "" {
		bad("remote.model: name the model that the service is to use")
	}
	if r.probes() && c.ModelName == "" {
		bad("model_name: name the model, since a service of this API does not say what it runs; it begins the model_version")
	}
	if !r.probes() && (c.Prefix != "" || c.QueryPrefix != "" || c.MaxTokens != 0 || c.ModelName != "") {
		bad("prefix, query_prefix, max_tokens, model_name: are those of Chunktide's service; set them there")
	}
	if r.API == APITEI && c.Dimensions != 0 {
		bad("dimensions: TEI's vectors are taken whole")
	}
	if r.Probe != "" {
		if _, err := parseImprint(r.Probe); err != nil {
			bad("remote.probe: %w", err)
		}
	}
	if !(r.ProbeTolerance > 0 && r.ProbeTolerance < 1) || math.IsNaN(r.ProbeTolerance) {
		bad("remote.probe_tolerance: must be between 0 and 1")
	}
	for _, n := range []struct {
		key          string
		value, least int64
	}{
		{"request_texts", int64(r.RequestTexts), 2}, {"request_tokens", int64(r.RequestTokens), 1}, {"concurrency", int64(r.Concurrency), 1},
		{"requests_per_minute", int64(r.RequestsPerMinute), 0}, {"tokens_per_minute", int64(r.TokensPerMinute), 0},
		{"timeout", int64(r.Timeout), 1}, {"start_timeout", int64(r.StartTimeout), 1},
		{"retry.initial", int64(r.Retry.Initial), 1}, {"retry.max", int64(r.Retry.Max), int64(r.Retry.Initial)},
	} {
		if n.value < n.least {
			bad("remote.%s: must be at least %d", n.key, n.least)
		}
	}
	if r.TokensPerMinute > 0 && r.TokensPerMinute < r.RequestTokens {
		bad("remote.tokens_per_minute: must be at least remote.request_tokens, %d, or a request would wait for more than a minute", r.RequestTokens)
	}
	return errs
}
