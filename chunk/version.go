package chunk

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Version totally orders the states of one chunk, over all partitions, topics
// and backfills: the highest wins. Zero means "none given".
type Version int64

// MaxVersion is the highest version there is. Qdrant compares payload numbers
// as IEEE 754 doubles, which tell neighbouring integers apart below 2^53 only.
const MaxVersion Version = 1<<53 - 1

// Valid reports whether v can be stored: 0 < v < 2^53.
func (v Version) Valid() bool { return v > 0 && v <= MaxVersion }

// ParseVersion reads a decimal integer in 1 … 2^53-1. Fractions, exponents
// and signs are refused, since rounding a version would reorder edits.
func ParseVersion(s string) (Version, error) {
	if strings.ContainsAny(s, ".eE") {
		return 0, fmt.Errorf("version %s is not an integer: send a whole number, such as a row version or a log sequence number", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > int64(MaxVersion) {
		if err == nil || strings.Trim(s, "0123456789") == "" {
			return 0, fmt.Errorf("version %s is too large: it must be below 2^53 (%d); nanosecond clocks do not fit, use microseconds", s, int64(MaxVersion)+1)
		}
		return 0, fmt.Errorf("version %q is not an integer", s)
	}
	if n <= 0 {
		return 0, fmt.Errorf("version %d is not positive: versions start at 1", n)
	}
	return Version(n), nil
}

// fallbackOffsets is how many records of one millisecond a fallback version
// tells apart.
const fallbackOffsets = 4096

// FallbackVersion orders events that carry no version by their record's
// timestamp, and within one millisecond by offset modulo 4096. It is weaker
// than a real version: clocks of several producers may disagree, and one
// chunk edited over 4096 offsets within a millisecond may be misordered. It
// holds until September 2039, when it would reach 2^53; ok is false from
// then on, and for timestamps at or before the epoch.
func FallbackVersion(timestamp time.Time, offset int64) (v Version, ok bool) {
	ms := timestamp.UnixMilli()
	if ms <= 0 || offset < 0 {
		return 0, false
	}
	v = Version(ms)*fallbackOffsets + Version(offset%fallbackOffsets)
	return v, ms < int64(MaxVersion)/fallbackOffsets && v.Valid()
}
