package chunk

import (
	"encoding/hex"
	"strings"
)

// Trace is the W3C trace context that a record came with: the trace of its
// producer, and the span in it that published the record. The zero Trace is
// none.
type Trace struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte
}

// HeaderTrace is the record header that a producer passes its trace in. A
// CloudEvent may name it as an attribute instead.
const HeaderTrace = "traceparent"

const (
	traceLength = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	// longestTrace bounds what versions to come may add.
	longestTrace = 512
)

// ParseTrace reads a traceparent (https://www.w3.org/TR/trace-context/). What
// is none is ignored, as that asks of everybody: no event is refused for it.
func ParseTrace(value string) (t Trace, ok bool) {
	switch n := len(value); {
	case n < traceLength || n > longestTrace || value[2] != '-' || value[35] != '-' || value[52] != '-':
		return Trace{}, false
	case value[:2] == "ff" || value[:2] == "00" && n > traceLength || n > traceLength && value[traceLength] != '-':
		return Trace{}, false
	}
	if strings.ContainsFunc(value[:traceLength], func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'f') }) {
		return Trace{}, false // hexadecimal, but in upper case, is not allowed
	}
	var version, flags [1]byte
	for _, part := range []struct {
		into []byte
		from string
	}{{version[:], value[:2]}, {t.TraceID[:], value[3:35]}, {t.SpanID[:], value[36:52]}, {flags[:], value[53:55]}} {
		if _, err := hex.Decode(part.into, []byte(part.from)); err != nil {
			return Trace{}, false
		}
	}
	t.Flags = flags[0]
	if !t.Valid() {
		return Trace{}, false
	}
	return t, true
}

// Valid reports whether there is a trace.
func (t Trace) Valid() bool { return t.TraceID != [16]byte{} && t.SpanID != [8]byte{} }

// Sampled reports whether the producer records its trace.
func (t Trace) Sampled() bool { return t.Valid() && t.Flags&1 != 0 }

// String is the traceparent of version 00, or nothing if there is none.
func (t Trace) String() string {
	if !t.Valid() {
		return ""
	}
	const version = "00-"
	return version + hex.EncodeToString(t.TraceID[:]) + "-" + hex.EncodeToString(t.SpanID[:]) + "-" + hex.EncodeToString([]byte{t.Flags})
}

// traced is the trace of the record: of its header, or else of its CloudEvent. A
// header that is there twice counts as its last.
func (m *message) traced() Trace {
	for i := len(m.record.Headers) - 1; i >= 0; i-- {
		if h := &m.record.Headers[i]; h.Key == HeaderTrace {
			if len(h.Value) > longestTrace {
				return Trace{}
			}
			t, _ := ParseTrace(string(h.Value))
			return t
		}
	}
	t, _ := ParseTrace(m.traceparent)
	return t
}
