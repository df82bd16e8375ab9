package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"chunktide/chunk"
	"chunktide/embedder"
)

const (
	envPrefix  = "CHUNKTIDE_"
	fileSuffix = "_file"
)

// notSettings are CHUNKTIDE_ variables that are no keys.
var notSettings = []string{"CHUNKTIDE_CONFIG", "CHUNKTIDE_TEST_"}

// Load reads the settings. file may be empty; set holds key=value pairs, keys
// as in the file (kafka.group=mine), lists separated by commas; environ is
// os.Environ or a test's own.
func Load(file string, set []string, environ []string) (Config, error) {
	v := viper.New()
	leaves := leavesOf(reflect.TypeFor[Config](), "")
	defaults := map[string]any{}
	if err := mapstructure.Decode(Default(), &defaults); err != nil {
		return Config{}, fmt.Errorf("read the defaults: %w", err)
	}
	for key, secret := range leaves {
		v.SetDefault(key, lookup(defaults, key))
		if secret {
			v.SetDefault(key+fileSuffix, "")
		}
	}
	if file != "" {
		if err := readFile(v, file); err != nil {
			return Config{}, err
		}
	}
	err := errors.Join(applyEnv(v, leaves, environ), applySet(v, set))
	settings := v.AllSettings()
	err = errors.Join(err, readSecrets(settings, leaves))
	// What is wrong is told at once, not one kind after the other.
	cfg, wrong := decode(settings)
	if err = errors.Join(err, wrong); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func readFile(v *viper.Viper, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	v.SetConfigType("yaml")
	err = oneMapping(data)
	if err == nil {
		err = v.ReadConfig(bytes.NewReader(data))
	}
	if err != nil {
		return fmt.Errorf("%s is not a YAML file of settings: %s", file, unquoted(err))
	}
	return nil
}

// errForm are files that are YAML, and whose settings would be left out without
// a word.
type errForm string

func (e errForm) Error() string { return string(e) }

// oneMapping looks at what a file consists of, and leaves its settings alone.
func oneMapping(data []byte) error {
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := documents.Decode(&first); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		return err
	}
	if top := first.Content[0]; top.Kind != yaml.MappingNode && top.Tag != "!!null" {
		return errForm("it has no keys; write each section with its settings below, as configs/reference.yaml does")
	}
	if err := documents.Decode(&second); err == nil {
		return errForm(fmt.Sprintf("line %d begins a second document; have all settings in one, without a --- between them", second.Line))
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return noKeyTwice(&first, "", map[string]keyPlace{})
}

// The YAML library's words for a broken file. Its other errors quote values.
var (
	yamlSyntax = regexp.MustCompile(`yaml: (line \d+: )?(did not find|found|could not find|mapping values|block|control characters|unknown escape)\b.*`)
	yamlLine   = regexp.MustCompile(`line \d+`)
)

// unquoted tells err without the values in it: one may be a secret.
func unquoted(err error) string {
	if form, ok := errors.AsType[errForm](err); ok {
		return form.Error()
	}
	if said := yamlSyntax.FindString(err.Error()); said != "" {
		return said
	}
	where := yamlLine.FindString(err.Error())
	if where == "" {
		where = "somewhere"
	}
	return where + " a value is not what is wanted there; put one that begins with *, & or ! in quotes"
}

// applyEnv takes the CHUNKTIDE_ variables. A name that is no key is a typing
// error which would otherwise go unnoticed.
func applyEnv(v *viper.Viper, leaves map[string]bool, environ []string) error {
	byName := map[string]string{}
	for key, secret := range leaves {
		byName[EnvName(key)] = key
		if secret {
			byName[EnvName(key+fileSuffix)] = key + fileSuffix
		}
	}
	var errs []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.ContainsFunc(notSettings, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		key, ok := byName[name]
		if !ok {
			errs = append(errs, fmt.Errorf("environment variable %s is no setting: names are %s and the key in upper case, with _ for each dot", name, envPrefix))
			continue
		}
		v.Set(key, value)
	}
	return errors.Join(errs...)
}

// EnvName is the environment variable of a setting.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func applySet(v *viper.Viper, set []string) error {
	var errs []error
	for i, pair := range set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			// The pair is not quoted: it may be a secret.
			errs = append(errs, fmt.Errorf("--set, number %d of them: want key=value, such as kafka.group=mine", i+1))
			continue
		}
		v.Set(key, value)
	}
	return errors.Join(errs...)
}

// readSecrets replaces each key_file by the content of that file.
func readSecrets(settings map[string]any, leaves map[string]bool) error {
	var errs []error
	for key, secret := range leaves {
		if !secret {
			continue
		}
		parent, name := parentOf(settings, key)
		for _, k := range []string{name, name + fileSuffix} {
			// YAML makes other numbers of 0123 and 1e5.
			if _, ok := parent[k].(string); !ok && parent[k] != nil && reflect.TypeOf(parent[k]) != reflect.TypeFor[chunk.Secret]() {
				errs = append(errs, fmt.Errorf("%s%s: is not text: put it in quotes", strings.TrimSuffix(key, name), k))
				parent[k] = ""
			}
		}
		file, _ := parent[name+fileSuffix].(string)
		delete(parent, name+fileSuffix)
		if file == "" {
			continue
		}
		if s, _ := parent[name].(string); s != "" {
			errs = append(errs, fmt.Errorf("%s and %s%s are both given: keep one", key, key, fileSuffix))
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%s: %w", key, fileSuffix, err))
			continue
		}
		content := strings.TrimRight(string(data), "\r\n")
		if strings.TrimSpace(content) == "" {
			// Without this a port that was to be guarded would be open.
			errs = append(errs, fmt.Errorf("%s%s: %s is empty: put the secret into it, or leave the setting out", key, fileSuffix, file))
			continue
		}
		parent[name] = content
	}
	return errors.Join(errs...)
}

func decode(settings map[string]any) (Config, error) {
	var cfg Config
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           &cfg,
		ErrorUnused:      true,
		WeaklyTypedInput: true, // the environment knows strings only
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			modelDefaults,
			unitsOfDurations,
			noWeakNumbers,
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToWeakSliceHookFunc(","),
			mapstructure.TextUnmarshallerHookFunc(),
		),
	})
	if err != nil {
		return Config{}, err
	}
	if err := d.Decode(settings); err != nil {
		return Config{}, decodeProblems(err)
	}
	return cfg, nil
}

// decodeProblems is a line for each problem, without mapstructure's headline.
func decodeProblems(err error) error {
	var errs []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "decoding failed due to") {
			continue
		}
		errs = append(errs, errors.New(strings.Replace(line, "'configs.Config' has", "the settings have", 1)))
	}
	return fmt.Errorf("%w (configs/reference.yaml lists every key)", errors.Join(errs...))
}

// unitsOfDurations refuses a number where a duration is wanted: 45 would be 45
// nanoseconds.
func unitsOfDurations(from, to reflect.Type, data any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() || from == to || from.Kind() == reflect.String {
		return data, nil
	}
	if v := reflect.ValueOf(data); v.IsValid() && !v.IsZero() {
		return nil, errors.New("want a duration with its unit, such as 200ms, 45s or 2m")
	}
	return data, nil
}

// noWeakNumbers refuses what weak typing would round, and numbers for a yes or
// no or for a secret: those of a list, which readSecrets does not see.
func noWeakNumbers(from, to reflect.Type, data any) (any, error) {
	number := reflect.ValueOf(data)
	whole := reflect.Zero(to).CanInt() || reflect.Zero(to).CanUint()
	switch {
	case to == reflect.TypeFor[chunk.Secret]() && data != nil && from.Kind() != reflect.String:
		return nil, errors.New("is not text: put it in quotes")
	case to.Kind() == reflect.Bool && (number.CanInt() || number.CanFloat()):
		return nil, errors.New("want true or false")
	case whole && number.CanFloat() && (number.Float() != math.Trunc(number.Float()) || math.Abs(number.Float()) >= 1<<63):
		return nil, errors.New("want a whole number")
	}
	return data, nil
}

// modelDefaults fills up the entries of serve.models, which viper knows
// nothing of.
func modelDefaults(_, to reflect.Type, data any) (any, error) {
	given, ok := data.(map[string]any)
	if !ok || to != reflect.TypeFor[embedder.Config]() {
		return data, nil
	}
	whole := map[string]any{}
	if err := mapstructure.Decode(embedder.DefaultConfig(), &whole); err != nil {
		return nil, err
	}
	overlay(whole, given)
	return whole, nil
}

// overlay replaces the values of base by those of given, section by section.
func overlay(base, given map[string]any) {
	for key, value := range given {
		key = strings.ToLower(key)
		section, isSection := base[key].(map[string]any)
		if part, ok := value.(map[string]any); ok && isSection {
			overlay(section, part)
			continue
		}
		base[key] = value
	}
}

// leavesOf maps the key of every setting to whether it is a secret.
func leavesOf(t reflect.Type, at string) map[string]bool {
	leaves := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("mapstructure")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		key := strings.TrimPrefix(at+"."+name, ".")
		if f.Type.Kind() == reflect.Struct {
			for k, secret := range leavesOf(f.Type, key) {
				leaves[k] = secret
			}
			continue
		}
		leaves[key] = f.Type == reflect.TypeFor[chunk.Secret]()
	}
	return leaves
}

func lookup(settings map[string]any, key string) any {
	parent, name := parentOf(settings, key)
	return parent[name]
}

func parentOf(settings map[string]any, key string) (map[string]any, string) {
	parts := strings.Split(key, ".")
	for _, p := range parts[:len(parts)-1] {
		next, ok := settings[p].(map[string]any)
		if !ok {
			return map[string]any{}, parts[len(parts)-1]
		}
		settings = next
	}
	return settings, parts[len(parts)-1]
}
