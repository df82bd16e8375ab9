package chunk

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password, token or key. Whatever prints it shows ***; only
// [Secret.Reveal] gives it away, at the one place that needs it. (Package fmt
// calls no method of an unexported field: never print a struct that has a
// Secret in one.)
type Secret string

const redacted = "***"

// Reveal returns the secret itself. Never log or wrap what it returns.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret, but shows whether there is one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format hides the secret from every verb of package fmt, the wrong ones too.
func (s Secret) Format(f fmt.State, verb rune) {
	shown := s.String()
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		shown = `"` + shown + `"`
	}
	_, _ = io.WriteString(f, shown) // a failed write is the caller's to see
}

// MarshalText hides the secret from JSON, YAML and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
