package chunk

import "log/slog"

// Secret is a password, token or key. Whatever prints it shows ***; only
// [Secret.Reveal] gives it away, at the one place that needs it.
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

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the secret from JSON, YAML and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
