package chunk

import (
	"errors"
	"fmt"
)

// Errors have three classes, decided once, where the cause is known:
//
//   - permanent ([Permanent]): the event can never be applied; it goes to the
//     dead letters and the rest goes on;
//   - transient: retried where it arose, with backoff; nobody else sees it;
//   - fatal (every other error): the worker stops, exits non-zero, and Kafka
//     replays what was not committed.

// Reason is the label of a permanent error: the closed set that metrics, dead
// letters and `chunktide dlq` group by.
type Reason string

// The reasons.
const (
	ReasonBrokenJSON      Reason = "broken_json"      // not JSON, or more than one value
	ReasonInvalidUTF8     Reason = "invalid_utf8"     // bytes that are no text
	ReasonWrongType       Reason = "wrong_type"       // a field of another JSON type, or out of its range
	ReasonUnknownFormat   Reason = "unknown_format"   // JSON, but no event format
	ReasonUnknownOp       Reason = "unknown_op"       // an operation that is not in the list
	ReasonNoIdentity      Reason = "no_identity"      // document_id or chunk_id missing
	ReasonBadVersion      Reason = "bad_version"      // version missing, fractional or out of range
	ReasonReservedKey     Reason = "reserved_key"     // metadata uses a name that Chunktide keeps for itself
	ReasonTooDeep         Reason = "too_deep"         // JSON nested deeper than limits.json_depth
	ReasonTooLarge        Reason = "too_large"        // record, text, metadata or a name over its limit
	ReasonEmptyText       Reason = "empty_text"       // no text, and on_empty is dead_letter
	ReasonTextUnavailable Reason = "text_unavailable" // an unchanged text that the index does not hold
	ReasonNoBefore        Reason = "no_before"        // content identity: an edit that does not say what it replaces
	ReasonTooManyTokens   Reason = "too_many_tokens"  // longer than the model takes, and overflow is error
	ReasonEncoderRefused  Reason = "encoder_refused"  // the encoder failed on this text and on no other
	ReasonBadVector       Reason = "bad_vector"       // NaN, infinite or zero: cannot be compared
	ReasonIndexRefused    Reason = "index_refused"    // the index calls this point invalid
	ReasonPanicked        Reason = "panicked"         // our code panicked on it, which is a bug
	ReasonKilledWorkers   Reason = "killed_workers"   // workers died, one after the other, with it alone in flight
)

// Reasons lists every reason, so that each metric series exists from the
// start.
func Reasons() []Reason {
	return []Reason{
		ReasonBrokenJSON, ReasonInvalidUTF8, ReasonWrongType, ReasonUnknownFormat, ReasonUnknownOp,
		ReasonNoIdentity, ReasonBadVersion, ReasonReservedKey, ReasonTooDeep, ReasonTooLarge,
		ReasonEmptyText, ReasonTextUnavailable, ReasonNoBefore, ReasonTooManyTokens,
		ReasonEncoderRefused, ReasonBadVector, ReasonIndexRefused, ReasonPanicked, ReasonKilledWorkers,
	}
}

// PermanentError is an error that no retry can mend.
type PermanentError struct {
	Reason Reason
	Err    error
}

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent marks err as permanent.
func Permanent(reason Reason, err error) error { return &PermanentError{Reason: reason, Err: err} }

// Permanentf is [Permanent] with a formatted cause.
func Permanentf(reason Reason, format string, args ...any) error {
	return Permanent(reason, fmt.Errorf(format, args...))
}

// ReasonOf returns the reason of a permanent error; ok is false for an error
// of another class.
func ReasonOf(err error) (reason Reason, ok bool) {
	var p *PermanentError
	if !errors.As(err, &p) {
		return "", false
	}
	return p.Reason, true
}

// Rejected is returned by an encoder that refused some texts of a call and
// served all the others: Texts maps the index of each refused text to its
// permanent error.
type Rejected struct {
	Texts map[int]error
}

func (e *Rejected) Error() string {
	lowest := -1
	for i := range e.Texts {
		if lowest < 0 || i < lowest {
			lowest = i
		}
	}
	return fmt.Sprintf("%d texts refused; text %d: %v", len(e.Texts), lowest, e.Texts[lowest])
}
