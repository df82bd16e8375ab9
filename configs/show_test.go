package configs

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"chunktide/chunk"
	"chunktide/embedder"
)

// filled sets every field to something that is not its default, and each
// secret to one of its own.
func filled(t *testing.T, v reflect.Value, secrets *[]string, at string) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("mapstructure")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		field, key := v.Field(i), strings.TrimPrefix(at+"."+name, ".")
		if field.Type() == reflect.TypeFor[chunk.Secret]() {
			field.SetString("secret-of-" + key)
			*secrets = append(*secrets, field.String())
			continue
		}
		switch field.Kind() {
		case reflect.Struct:
			filled(t, field, secrets, key)
		case reflect.String:
			field.SetString("1: [" + key + "]\n#")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 2, 2))
			if field.Type().Elem().Kind() == reflect.Struct {
				for j := range 2 {
					filled(t, field.Index(j), secrets, key)
				}
			}
		case reflect.Float64:
			field.SetFloat(1.5e-9)
		default:
			if field.CanInt() {
				field.SetInt(field.Int() + 4) // log.level has its names at steps of four
			} else {
				field.SetUint(field.Uint() + 1)
			}
		}
	}
}

// What is shown is a file that means the same, but for the secrets.
func TestTheSettingsAreShown(t *testing.T) {
	cfg := Default()
	var secrets []string
	filled(t, reflect.ValueOf(&cfg).Elem(), &secrets, "")
	if len(secrets) < 9 {
		t.Fatalf("only %d secrets: %q", len(secrets), secrets)
	}
	for name, c := range map[string]Config{"default": Default(), "filled": cfg} {
		shown, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		tree, err := c.Tree()
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if strings.Contains(string(shown), secret) || strings.Contains(string(asJSON), secret) {
				t.Errorf("%s: the secret %s is shown", name, secret)
			}
		}
		got, err := Load(write(t, string(shown)), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, shown)
		}
		again, err := got.YAML()
		if err != nil || string(again) != string(shown) {
			t.Errorf("%s: read again it is another (%v):\n%s\nwas\n%s", name, err, again, shown)
		}
	}
	shown, _ := cfg.YAML()
	if n := strings.Count(string(shown), `'***'`); n != len(secrets) {
		t.Errorf("%d secrets are marked, of %d, in\n%s", n, len(secrets), shown)
	}
	// In a list of sections too.
	cfg.Serve.Models = []embedder.Config{{Remote: embedder.RemoteConfig{APIKey: "s"}}}
	if shown, err := cfg.YAML(); err != nil || strings.Count(string(shown), "api_key: '***'") != 4 {
		t.Errorf("%v\n%s", err, shown)
	}
}

// A worker refuses most of these, and whoever asks why shows its settings.
func TestPasswordsInURLsAreNotShown(t *testing.T) {
	for url, want := range map[string]string{
		"http://u:hunter2@h:1/p":              "http://***@h:1/p",
		"http://hunter2@h":                    "http://***@h",
		"http://u:hun/ter2@h":                 "http://***@h",
		"http://u:%zzhunter2@h@i/":            "http://***@i/",
		"http://u:#hunter2@h":                 "http://***@h", // url.Parse sees no user in these three
		"http://u:?hunter2@h":                 "http://***@h",
		"http://u:1/hunter2@h":                "http://***@h",
		"u:hunter2@h:6334":                    "***@h:6334",
		"u:hunter2://x@h":                     "***@h",
		"//u:hunter2@h":                       "***@h",
		"http:/u:hunter2@h":                   "***@h",
		"://u:hunter2@h":                      "***@h",
		"http://h/p?token=hunter2":            "http://h/p?token=***",
		"redis://h/0?a=1&password=hunter2&b":  "redis://h/0?a=***&password=***&***",
		"https://h?hunter2":                   "https://h?***",
		"https://h?token=a=hunter2;x=hunter2": "https://h?token=***;x=***",
		"http://h/#hunter2":                   "http://h/#***",
		"http://h/?a=b#t=hunter2?hunter2":     "http://h/?a=***#t=***?***",
		"http://u:x@h/?t=hunter2":             "http://***@h/?t=***",
		"http://h/?t=hunter2@x":               "http://***@x",
		"h:6334?api_key=hunter2":              "h:6334?api_key=***",
		"h:6334/p?hunter2":                    "h:6334/p?***",
		"h/p?t=hunter2":                       "h/p?t=***",
		"http:/h?t=hunter2":                   "http:/h?t=***",
		"http://h/a b?t=hunter2 x":            "http://h/a b?t=***",
		"//h/p?t=hunter2":                     "//h/p?t=***",
		"http://h/?token=":                    "http://h/?token=", // from here the controls: nothing to hide
		"Which is it? This one = that: ":      "Which is it? This one = that: ",
		"see http://h/?a=b":                   "see http://h/?a=b",
		"query? a=b":                          "query? a=b",
		"query:?":                             "query:?",
		"http://h:1/a":                        "http://h:1/a",
		"http://h:1":                          "http://h:1",
		"h:6334":                              "h:6334",
		"me@realm":                            "me@realm",
		"someone@a host, but no URL":          "someone@a host, but no URL",
	} {
		cfg := Default()
		cfg.Embedder.Remote.URL, cfg.Tracing.Endpoint, cfg.Kafka.SASL.OAuth.TokenURL = url, url, url
		cfg.Kafka.Brokers = []string{url}
		tree, err := cfg.Tree()
		if err != nil {
			t.Fatal(err)
		}
		at := func(keys ...string) any {
			var value any = tree
			for _, k := range keys {
				value = value.(map[string]any)[k]
			}
			return value
		}
		for _, got := range []any{at("embedder", "remote", "url"), at("tracing", "endpoint"), at("kafka", "sasl", "oauth", "token_url")} {
			if got != want {
				t.Errorf("%s is shown as %v", url, got)
			}
		}
		if text, err := cfg.YAML(); err != nil || strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "!!float") {
			t.Errorf("%s: %v, or a password or a tag stands in\n%s", url, err, text)
		}
	}
}
