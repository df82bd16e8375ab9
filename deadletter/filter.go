package deadletter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Place is where a letter lies in the dead-letter topic. It is written
// partition:offset.
type Place struct {
	Partition int32
	Offset    int64
}

func (p Place) String() string { return fmt.Sprintf("%d:%d", p.Partition, p.Offset) }

// MarshalText implements [encoding.TextMarshaler].
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Place) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePlace(string(text))
	return err
}

func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Partition, q.Partition), cmp.Compare(p.Offset, q.Offset))
}

// ParsePlace reads the form that String writes.
func ParsePlace(text string) (Place, error) {
	partition, offset, found := strings.Cut(text, ":")
	p, err := strconv.ParseUint(partition, 10, 31)
	o, offsetErr := strconv.ParseUint(offset, 10, 63)
	if !found || err != nil || offsetErr != nil {
		return Place{}, fmt.Errorf("%q names no letter: want partition:offset in the dead-letter topic, such as 0:17", text)
	}
	return Place{int32(p), int64(o)}, nil
}

// Span is a stretch of a partition, both ends included.
type Span struct {
	Partition   int32
	First, Last int64
}

// ParseSpan reads 0:17, 0:17-40, or 0:17- for all from there on.
func ParseSpan(text string) (Span, error) {
	from, to, stretch := strings.Cut(text, "-")
	p, err := ParsePlace(from)
	s := Span{Partition: p.Partition, First: p.Offset, Last: p.Offset}
	switch {
	case err != nil:
	case stretch && to == "":
		s.Last = math.MaxInt64
	case stretch:
		n, parseErr := strconv.ParseUint(to, 10, 63)
		s.Last, err = int64(n), parseErr
		if err == nil && s.Last < s.First {
			err = fmt.Errorf("%d comes before %d", s.Last, s.First)
		}
	}
	if err != nil {
		return Span{}, fmt.Errorf("%q: want offsets of the dead-letter topic, 0:17, 0:17-40 (both included), or 0:17- for all from there on", text)
	}
	return s, nil
}

func (s Span) String() string {
	p := Place{s.Partition, s.First}
	switch s.Last {
	case s.First:
		return p.String()
	case math.MaxInt64:
		return p.String() + "-"
	}
	return fmt.Sprintf("%s-%d", p, s.Last)
}

func (s Span) holds(p Place) bool {
	return s.Partition == p.Partition && s.First <= p.Offset && p.Offset <= s.Last
}

// Filter chooses letters; the zero value chooses all. Several kinds of
// conditions must all hold, of the reasons and of the spans any.
type Filter struct {
	Reasons []string
	// Since and Until bound when the letter was written; Until is excluded. The
	// zero time is no bound.
	Since, Until time.Time
	Spans        []Span
}

// Empty reports whether everything is chosen.
func (f *Filter) Empty() bool {
	return len(f.Reasons) == 0 && f.Since.IsZero() && f.Until.IsZero() && len(f.Spans) == 0
}

func (f *Filter) takes(l *Letter) bool {
	return (len(f.Reasons) == 0 || slices.Contains(f.Reasons, l.Reason)) &&
		(f.Since.IsZero() || !l.Written.Before(f.Since)) && (f.Until.IsZero() || l.Written.Before(f.Until)) &&
		(len(f.Spans) == 0 || f.names(l.Place))
}

// names reports whether a span holds the place.
func (f *Filter) names(p Place) bool {
	return slices.ContainsFunc(f.Spans, func(s Span) bool { return s.holds(p) })
}

// Choose returns the letters that the filter takes, in their order. A span in
// which there cannot be any is an error: it was mistyped, or what was there is
// deleted. One without an end may be empty, but not of a partition that is not
// there.
func (f *Filter) Choose(b Box) ([]Letter, error) {
	for _, s := range f.Spans {
		if slices.ContainsFunc(b.Letters, func(l Letter) bool { return s.holds(l.Place) }) {
			continue
		}
		switch {
		case b.Partitions == 0:
			return nil, fmt.Errorf("no dead letter at %s: topic %s does not exist", s, b.Topic)
		case s.Partition >= b.Partitions:
			return nil, fmt.Errorf("no dead letter at %s: the last partition of topic %s is %d", s, b.Topic, b.Partitions-1)
		case s.Last < math.MaxInt64:
			return nil, fmt.Errorf("no dead letter at %s: chunktide dlq list --records names those that there are", s)
		}
	}
	var out []Letter
	for i := range b.Letters {
		if f.takes(&b.Letters[i]) {
			out = append(out, b.Letters[i])
		}
	}
	return out, nil
}
