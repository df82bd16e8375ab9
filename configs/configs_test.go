package configs

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"chunktide/chunk"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingSetIsTheDefault(t *testing.T) {
	cfg, err := Load("", nil, nil)
	if err != nil || !reflect.DeepEqual(cfg, Default()) {
		t.Errorf("%v\n got %+v\nwant %+v", err, cfg, Default())
	}
}

// The reference holds every key, with its default.
func TestReferenceIsWhole(t *testing.T) {
	cfg, err := Load("reference.yaml", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// An empty list and none are one.
	if len(cfg.Kafka.Topics) == 0 {
		cfg.Kafka.Topics = nil
	}
	if len(cfg.Serve.Models)+len(cfg.Serve.Aliases) == 0 {
		cfg.Serve.Models, cfg.Serve.Aliases = nil, nil
	}
	if !reflect.DeepEqual(cfg, Default()) {
		t.Errorf("the reference differs from the defaults:\n got %+v\nwant %+v", cfg, Default())
	}
	data, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	for key := range leavesOf(reflect.TypeFor[Config](), "") {
		parent, name := parentOf(tree, key)
		if _, ok := parent[name]; !ok {
			t.Errorf("%s is missing in reference.yaml", key)
		}
	}
}

func TestLaterSourcesWin(t *testing.T) {
	file := write(t, "kafka:\n  group: file\n  batch: {linger: 1s}\nqdrant: {index: file}\n")
	cfg, err := Load(file, []string{"kafka.group=flag"}, []string{
		"CHUNKTIDE_KAFKA_GROUP=env", "CHUNKTIDE_QDRANT_INDEX=env", "CHUNKTIDE_KAFKA_BROKERS=a:1,b:2",
		"CHUNKTIDE_KAFKA_CREATE_TOPICS_ENABLED=true", "CHUNKTIDE_LOG_LEVEL=debug", "PATH=/bin", "CHUNKTIDE_TEST_REAL=0",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(cfg.Kafka.Group, cfg.Qdrant.Index, cfg.Kafka.Batch.Linger, cfg.Kafka.Brokers, cfg.Kafka.CreateTopics.Enabled, cfg.Log.Level)
	if want := fmt.Sprint("flag", "env", time.Second, []string{"a:1", "b:2"}, true, slog.LevelDebug); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A number as YAML has it, and what only text can be.
func TestSnapshotBehindIsRead(t *testing.T) {
	for value, want := range map[string]chunk.SnapshotBehind{"16777216": 1 << 24, "all": chunk.BehindAll, `"7"`: 7} {
		cfg, err := Load(write(t, "events: {debezium: {snapshot_behind: "+value+"}}"), nil, nil)
		if err != nil || cfg.Events.Debezium.SnapshotBehind != want {
			t.Errorf("%s: %d, %v; want %d", value, cfg.Events.Debezium.SnapshotBehind, err, want)
		}
		// What chunktide config shows is read again.
		shown, err := cfg.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(write(t, string(shown)), nil, nil)
		if err != nil || again.Events.Debezium.SnapshotBehind != want {
			t.Errorf("%s, as it is shown: %d, %v; want %d", value, again.Events.Debezium.SnapshotBehind, err, want)
		}
	}
}

func TestMistakesAreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		set  []string
		env  []string
		says string
	}{
		"unknown key in the file":   {file: "kafka: {grup: x}", says: "grup"},
		"unknown key as a flag":     {set: []string{"kafka.grup=x"}, says: "grup"},
		"unknown variable":          {env: []string{"CHUNKTIDE_KAFKA_GRUP=x"}, says: "CHUNKTIDE_KAFKA_GRUP"},
		"no duration":               {file: "kafka: {session_timeout: soon}", says: "session_timeout"},
		"a duration without unit":   {file: "kafka: {session_timeout: 45}", says: "'kafka.session_timeout' want a duration with its unit"},
		"no YAML":                   {file: "kafka: [", says: "YAML"},
		"a fraction":                {file: "kafka: {fetch_max_bytes: 1.5}", says: "'kafka.fetch_max_bytes' want a whole number"},
		"a number for a yes":        {file: "kafka: {next_gen: 2}", says: "'kafka.next_gen' want true or false"},
		"neither number nor word":   {file: "events: {debezium: {snapshot_behind: 16MiB}}", says: "is neither a whole number nor all"},
		"no number at all":          {file: "kafka: {fetch_max_bytes: .inf}", says: "'kafka.fetch_max_bytes' want a whole number"},
		"too large a number":        {file: "kafka: {fetch_max_bytes: 1e30}", says: "'kafka.fetch_max_bytes' want a whole number"},
		"a number for a secret":     {file: "serve: {models: [{remote: {api_key: 0123}}]}", says: "remote.api_key' is not text"},
		"two documents":             {file: "kafka: {group: a}\n---\nkafka: {group: b}", says: "line 2 begins a second document"},
		"no mapping":                {file: "hello", says: "it has no keys"},
		"a list":                    {file: "- kafka", says: "it has no keys"},
		"a key twice":               {file: "kafka:\n  group: a\n  group: b", says: "line 3 has the key group, which line 2 has too"},
		"a key in two cases":        {file: "kafka:\n  group: a\n  Group: b", says: "line 3 has the key Group, which is the key group of line 2; keep one"},
		"a section in two cases":    {file: "kafka: {group: a}\nKAFKA: {topics: [b]}", says: "line 2 has the key KAFKA, which is the key kafka of line 1; keep one"},
		"a key with its section":    {file: "kafka.group: a\nkafka: {group: b}", says: "line 2 has the key group, which is the key kafka.group of line 1; keep one"},
		"a key of a list in two":    {file: "serve: {models: [{remote: {url: a}}, {remote: {url: a, URL: b}}]}", says: "the key URL, which is the key url of line 1"},
		"a secret for a key, twice": {file: "kafka: {hunter2: a, Hunter2: b}", says: "line 1 has a key, which is a key of line 1"},
		"no key=value":              {set: []string{"x"}, says: "key=value"},
		"secret twice":              {file: "qdrant: {api_key: a, api_key_file: b}", says: "qdrant.api_key_file"},
		"secret file that is not":   {file: "qdrant: {api_key_file: /no/such/file}", says: "qdrant.api_key_file"},
		"secret file without one":   {file: "admin: {token_file: " + write(t, " \n") + "}", says: "is empty: put the secret into it"},
		"a file of no secret's key": {file: "kafka: {group_file: x}", says: "group_file"},
	} {
		path := ""
		if tt.file != "" {
			path = write(t, tt.file)
		}
		if _, err := Load(path, tt.set, tt.env); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to name %s", name, err, tt.says)
		}
	}
	if _, err := Load(write(t, "kafka: {grup: x, next_gen: perhaps}"), nil, nil); err == nil || len(strings.Split(err.Error(), "\n")) != 2 || strings.Contains(err.Error(), "decoding") {
		t.Errorf("two mistakes are not a line each: %v", err)
	}
	_, err := Load(write(t, "kafka: {topicz: [a], session_timeout: soon}\nqdrant: {api_key: [x], api_key_file: 7}\nadmin: {token: {a: b}}"), []string{"x"}, []string{"CHUNKTIDE_KAFKA_GRUP=x"})
	for _, part := range []string{"topicz", "session_timeout", "qdrant.api_key:", "qdrant.api_key_file:", "admin.token:", "--set, number 1", "CHUNKTIDE_KAFKA_GRUP"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("all that is wrong is not told at once, %s is left out: %v", part, err)
		}
	}
	if _, err := Load("no-such-file.yaml", nil, nil); err == nil {
		t.Error("a missing file was read")
	}
}

func TestMistakesDoNotQuoteSecrets(t *testing.T) {
	for _, tt := range []struct{ file, set string }{
		{set: "qdrant.api_key:hunter2"},
		{set: "qdrant.api_key hunter2"},
		{set: "=hunter2"},
		{file: "{hunter2, hunter2}"},
		{file: "qdrant: hunter2"},
		{file: "qdrant:\n  api_key: hunter2\n  api_key: hunter2"},
		{file: "admin: {token: [hunter2]}"},
		{file: "serve: {models: [{remote: {api_key: [hunter2]}}]}"},
		{file: "embedder: {remote: {url: ['http://u:hunter2@h']}}"},
		{file: "hunter2"},
		{file: "kafka: {group: a}\n---\nhunter2"},
	} {
		path, set := "", []string{"kafka.group=a"}
		if tt.file != "" {
			path = write(t, tt.file)
		}
		if tt.set != "" {
			set = append(set, tt.set)
		}
		if _, err := Load(path, set, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error without the secret", tt, err)
		}
	}
	// The controls: what is right, and the text of the environment. Keys of one
	// name in two sections, or two entries of a list, are two.
	cfg, err := Load(write(t, "Kafka: {next_gen: true, Quarantine_After: 2.0, tls: {enabled: false}}\nqdrant.tls: {enabled: false}\nserve: {models: [{remote: {api_key: '0123'}}, {remote: {api_key: b}}]}"),
		nil, []string{"CHUNKTIDE_KAFKA_CREATE_TOPICS_ENABLED=1", "CHUNKTIDE_KAFKA_FETCH_MAX_BYTES=16"})
	if err != nil || !cfg.Kafka.NextGen || cfg.Kafka.FetchMaxBytes != 16 || cfg.Kafka.QuarantineAfter != 2 || !cfg.Kafka.CreateTopics.Enabled || cfg.Serve.Models[0].Remote.APIKey.Reveal() != "0123" {
		t.Errorf("%v: what is right was refused, or taken for something else", err)
	}
}

func TestSecretsComeFromFilesAndStayHidden(t *testing.T) {
	const secret = "hunter2"
	cfg, err := Load("", nil, []string{"CHUNKTIDE_QDRANT_API_KEY_FILE=" + write(t, secret+"\n"), "CHUNKTIDE_KAFKA_SASL_PASSWORD=" + secret})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Qdrant.APIKey.Reveal() != secret || cfg.Kafka.SASL.Password.Reveal() != secret {
		t.Errorf("secrets were not read: %+v", cfg)
	}
	if printed := fmt.Sprintf("%+v %#v %v", cfg, cfg, cfg); strings.Contains(printed, secret) {
		t.Error("a secret is printed")
	}
}

// An error names the key and quotes no value of the file, since it may be a
// secret in the wrong place.
func TestErrorsQuoteNoValue(t *testing.T) {
	for file, says := range map[string]string{
		"qdrant: {api_key: [hunter2, x]}":                    "qdrant.api_key",
		"qdrant: {api_key: {a: hunter2}}":                    "qdrant.api_key",
		"qdrant: {api_key_file: [hunter2]}":                  "qdrant.api_key_file",
		"qdrant: {api_key: 012345}":                          "qdrant.api_key: is not text",
		"qdrant: {api_key: 2001-01-01}":                      "qdrant.api_key: is not text",
		"hunter2":                                            "not a YAML file",
		"- hunter2":                                          "not a YAML file",
		"qdrant: hunter2":                                    "qdrant",
		"kafka: {sasl: hunter2}":                             "kafka.sasl",
		"qdrant: {api_key: hunter2: x}":                      "not a YAML file",
		"qdrant: {api_key: *hunter2}":                        "in quotes",
		"qdrant: {api_key: !!int hunter2}":                   "not a YAML file",
		"qdrant: {tls: {enabled: hunter2}}":                  "qdrant.tls.enabled",
		"qdrant: {request_timeout: hunter2}":                 "qdrant.request_timeout",
		"qdrant: {request_points: hunter2}":                  "qdrant.request_points",
		"serve: {models: [{remote: {api_key: [hunter2]}}]}":  "api_key",
		"serve: {models: hunter2}":                           "serve.models",
		"embedder: {devices: [hunter2]}":                     "embedder.devices",
		"kafka: {sasl: {oauth: {client_secret: [hunter2]}}}": "kafka.sasl.oauth.client_secret",
	} {
		_, err := Load(write(t, file), nil, nil)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want it to name %s", file, err, says)
		}
	}
}

func FuzzLoadQuotesNoSecret(f *testing.F) {
	const secret = "hunter2"
	for _, file := range []string{"qdrant: {api_key: %s}", "qdrant:\n  api_key: *%s", "kafka: {sasl: {password: !!int %s}}", "cache:\n url: `%s`", "a: 'x\nb: %s", "qdrant: {api_key: \"%s"} {
		f.Add(strings.ReplaceAll(file, "%s", secret))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file string) {
		// A key is quoted, and a file's name.
		_, after, found := strings.Cut(file, secret)
		if !found || strings.Contains(after, secret) || strings.Contains(after, ":") {
			return
		}
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, nil, nil); err != nil && strings.Contains(err.Error(), secret) && !strings.Contains(err.Error(), "invalid keys") {
			t.Errorf("%q: %v", file, err)
		}
	})
}

func TestValidateChecksWhatIsAskedFor(t *testing.T) {
	cfg := Default()
	cfg.Qdrant.Index = "a/b"
	if err := cfg.Validate(Embedder); err != nil {
		t.Errorf("a section that was not asked for was checked: %v", err)
	}
	err := cfg.Validate(Worker()...)
	for _, key := range []string{"kafka.topics", "kafka.group", "qdrant.index"} {
		if err == nil || !strings.Contains(Problems(err), "  - "+key) {
			t.Errorf("%s has no line of its own in:\n%s", key, Problems(err))
		}
	}
}

// A model of serve.models has the defaults of the embedder section.
func TestServedModelsHaveDefaults(t *testing.T) {
	cfg, err := Load(write(t, "serve:\n  models:\n    - {model_dir: /models/new, prefix: 'passage: ', gpu: {bucket: 16}}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default().Embedder
	want.ModelDir, want.Prefix, want.GPU.Bucket = "/models/new", "passage: ", 16
	if len(cfg.Serve.Models) != 1 || !reflect.DeepEqual(cfg.Serve.Models[0], want) {
		t.Errorf("%+v, want %+v", cfg.Serve.Models, want)
	}
	if _, err := Load(write(t, "serve:\n  models:\n    - {model_dri: x}\n"), nil, nil); err == nil || !strings.Contains(err.Error(), "model_dri") {
		t.Errorf("an unknown key of a model: %v", err)
	}
}

// A list given on one line has commas, whatever it lists.
func TestListsHaveCommas(t *testing.T) {
	cfg, err := Load("", []string{"kafka.topics=a,b", "embedder.devices=0,1", "embedder.matryoshka=128,256"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(cfg.Kafka.Topics, cfg.Embedder.Devices, cfg.Embedder.Matryoshka)
	if want := "[a b] [0 1] [128 256]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
