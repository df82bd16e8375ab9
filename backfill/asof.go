package backfill

import (
	"fmt"
	"strings"
	"time"

	"chunktide/chunk"
)

// AsOf is what rows have that carry no version and no time of their own: the
// moment at which they were read from wherever they come from. The zero AsOf
// is none: rows must have versions.
type AsOf struct {
	// Version is exceeded by that of every change since.
	Version chunk.Version
	// Time is zero where only a version is known.
	Time time.Time
}

// ParseAsOf reads a version, or a time (RFC 3339) from before the rows were
// read. The latter is for streams without versions of their own, whose events
// are ordered by [chunk.FallbackVersion]: it becomes the last such version
// before its millisecond, so that a change within that millisecond wins as
// well. A time after now, which the caller takes, is refused: rows would win
// over changes that are still to come.
func ParseAsOf(s string, now time.Time) (AsOf, error) {
	if s == "" {
		return AsOf{}, nil
	}
	if strings.Trim(s, "0123456789") == "" {
		v, err := chunk.ParseVersion(s)
		return AsOf{Version: v}, err
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return AsOf{}, fmt.Errorf("%q is neither a version nor a time like 2026-01-31T12:00:00Z", s)
	}
	if at.After(now) {
		return AsOf{}, fmt.Errorf("%s lies in the future: give the time at which the rows began to be read, or a little before", s)
	}
	v, ok := chunk.FallbackVersion(at, 0)
	if !ok {
		return AsOf{}, fmt.Errorf("%s is outside of 1970 to 2039, for which times are versions", s)
	}
	return AsOf{Version: v - 1, Time: at}, nil
}

// Fits is an error if the index counts versions otherwise than by time while
// the rows would: then no later change could ever replace them. Held is any
// version of the index.
func (a AsOf) Fits(held chunk.Version) error {
	if a.Time.IsZero() || held > a.Version/2 {
		return nil
	}
	return fmt.Errorf("the index holds version %d, so its versions are no times, and rows with the version of a time (%d) would win over every later change: "+
		"give --as-of as a version of that kind, one that the stream had reached when the rows began to be read", held, a.Version)
}
