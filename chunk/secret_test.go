package chunk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestASecretIsNeverPrinted(t *testing.T) {
	const hidden = "hunter2"
	secret := Secret(hidden)
	type settings struct {
		Key  Secret
		Keys []Secret
		Map  map[string]Secret
		At   *Secret
	}
	holder := settings{secret, []Secret{secret}, map[string]Secret{"k": secret}, &secret}
	check := func(name, printed string) {
		t.Helper()
		for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("%d", []byte(hidden))} {
			if strings.Contains(printed, form) {
				t.Errorf("%s prints %s", name, printed)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%e", "%c", "%U", "%b", "%o", "%10.3s", "%-20s", "%!"} {
		for _, v := range []any{secret, &secret, holder, &holder, []any{secret}, map[Secret]int{secret: 1}} {
			check(verb, fmt.Sprintf(verb, v))
		}
	}
	check("Sprint", fmt.Sprint(secret, holder))
	check("an error", fmt.Errorf("the key %v: %w", secret, errors.New("refused")).Error())
	data, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	check("JSON", string(data))
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		logger := slog.New(h).With("key", secret)
		logger.Info("settings", "holder", holder, "pointer", &holder, "any", []any{secret}, slog.Group("g", "key", secret))
	}
	check("slog", log.String())
	defer func() { check("a panic", fmt.Sprint(recover())) }()
	panic(fmt.Sprint(secret))
}

func TestASecretSaysWhetherItIsThere(t *testing.T) {
	for secret, want := range map[Secret]string{"": ` "" "" `, "x": `*** "***" "***" ***`} {
		if got := fmt.Sprintf("%v %q %#v %s", secret, secret, secret, secret); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if Secret("x").Reveal() != "x" {
		t.Error("not revealed")
	}
}
