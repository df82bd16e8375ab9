package deadletter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"chunktide/chunk"
	"chunktide/consumer"
)

// Letter is a dead letter without its content.
type Letter struct {
	// Place is where the letter lies, and Written when it was.
	Place   Place     `json:"letter"`
	Written time.Time `json:"written"`
	// Original is the record that was refused; Time is that record's own.
	Original Original  `json:"original"`
	Time     time.Time `json:"original_time,omitzero"`
	Reason   string    `json:"reason"`
	Stage    string    `json:"stage"`
	Message  string    `json:"message"`
	// Key is the record's key, cut to maxKey bytes: it names a chunk.
	Key string `json:"key"`
	// KeyBytes and ValueBytes are what the letter holds. A tombstone has no value.
	KeyBytes   int  `json:"key_bytes"`
	ValueBytes int  `json:"value_bytes"`
	Tombstone  bool `json:"tombstone,omitempty"`
	// Omitted says what was left out of the letter, "" for nothing.
	Omitted string `json:"omitted,omitempty"`
	// First is where a record batch begins that could not be read; -1 for a
	// letter of one record.
	First int64 `json:"first_offset"`
	// From is the letter that the original itself had been sent from.
	From string `json:"redriven_from,omitempty"`
	// Redriven is nil unless it was sent.
	Redriven *Redriven `json:"redriven,omitempty"`

	named bool
	// marked says that the letter has a marker of its own, not only another
	// letter of its original.
	marked bool
}

// maxKey is how much of a key is kept.
const maxKey = 256

// Original is where a record lies.
type Original struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (o Original) String() string { return fmt.Sprintf("%s %d:%d", o.Topic, o.Partition, o.Offset) }

// Redriven says when a letter was sent, and where that lies now.
type Redriven struct {
	At time.Time `json:"at"`
	To Original  `json:"to"`
	// Letter is the one that was sent.
	Letter Place `json:"letter"`
}

// identity is what letters of one record have in common. The time tells a
// record from one at the same place of a topic that was made anew.
type identity struct {
	Original
	millis int64
}

func (l *Letter) identity() identity {
	id := identity{Original: l.Original}
	if !l.Time.IsZero() {
		id.millis = l.Time.UnixMilli()
	}
	return id
}

func newLetter(r chunk.Record) Letter {
	full := consumer.ParseLetter(r)
	l := Letter{
		Place: Place{r.Partition, r.Offset}, Written: r.Timestamp, Original: Original(full.Original), Time: full.OriginalTime,
		Reason: full.Reason, Stage: full.Stage, Message: full.Message, Key: strings.ToValidUTF8(string(r.Key[:min(len(r.Key), maxKey)]), "\ufffd"),
		KeyBytes: len(r.Key), ValueBytes: len(r.Value), Tombstone: r.Value == nil && full.Omitted == "", Omitted: full.Omitted,
		First: full.First, named: full.Named,
	}
	for _, h := range full.Own {
		if h.Key == consumer.HeaderRedrivenFrom {
			l.From = string(h.Value)
		}
	}
	return l
}

// marker is the value of the record that says that a letter was sent.
type marker struct {
	Original Original `json:"original"`
	// Millis is the original's timestamp, 0 where it is not known.
	Millis int64 `json:"original_timestamp"`
	// Letter is the one that was sent: another than the marker is of, if both
	// have the same original.
	Letter Place     `json:"letter"`
	To     Original  `json:"to"`
	At     time.Time `json:"at"`
}

// readMarker is false for what is no marker. One whose value cannot be read
// still names its letter, which is enough not to send it twice.
func readMarker(r chunk.Record) (m marker, of Place, ok bool) {
	name, ok := consumer.RedrivenLetter(r)
	if !ok {
		return m, of, false
	}
	of, err := ParsePlace(name)
	if err != nil {
		return m, of, false
	}
	if json.Unmarshal(r.Value, &m) != nil {
		m = marker{Letter: of, At: r.Timestamp}
	}
	return m, of, true
}

// Box is what lies in a dead-letter topic.
type Box struct {
	Topic string
	// Letters are in the order of partition and offset.
	Letters []Letter
	// Foreign records are neither letters nor markers.
	Foreign int
	// Offsets is how many offsets the topic holds: no fewer than its letters. It
	// is known at once, however many there are: also where reading them fails.
	Offsets int64
	// Partitions is how many the topic has; 0 if it does not exist.
	Partitions int32
}

// Read reads the whole topic of the dead letters as it stands now. A topic
// that does not exist holds none. It belongs to no group and commits nothing.
// Memory is some 500 bytes for each letter, whatever their size.
func Read(ctx context.Context, cfg consumer.Config, logger *slog.Logger) (Box, error) {
	b := Box{Topic: cfg.DeadLetters()}
	own, byOriginal := map[Place]*Redriven{}, map[identity]*Redriven{}
	ranges, err := rangesOf(ctx, cfg)
	if err != nil {
		return b, fmt.Errorf("read the dead letters: %w", err)
	}
	for _, r := range ranges {
		b.Offsets, b.Partitions = b.Offsets+r.To-r.From, max(b.Partitions, r.Partition+1)
	}
	err = scan(ctx, cfg, ranges, nil, func(r chunk.Record) error {
		if m, of, ok := readMarker(r); ok {
			sent := &Redriven{At: m.At, To: m.To, Letter: m.Letter}
			own[of] = sent
			if id := (identity{m.Original, m.Millis}); byOriginal[id] == nil && m.Original.Topic != "" {
				byOriginal[id] = sent
			}
			return nil
		}
		if l := newLetter(r); l.named {
			b.Letters = append(b.Letters, l)
		} else {
			b.Foreign++
		}
		return nil
	}, logger)
	if err != nil {
		return b, fmt.Errorf("read the dead letters: %w", err)
	}
	for i := range b.Letters {
		l := &b.Letters[i]
		if l.Redriven = own[l.Place]; l.Redriven != nil {
			l.marked = true
		} else {
			l.Redriven = byOriginal[l.identity()]
		}
	}
	slices.SortFunc(b.Letters, func(a, b Letter) int { return a.Place.compare(b.Place) })
	return b, nil
}

// rangesOf is what the dead-letter topic holds. What is not committed is left
// out, whatever the workers read: an open transaction is one of a redrive.
func rangesOf(ctx context.Context, cfg consumer.Config) ([]consumer.Range, error) {
	return consumer.RangesIfAny(ctx, lettersOnly(cfg))
}

func lettersOnly(cfg consumer.Config) consumer.Config {
	cfg.Topics, cfg.Isolation = []string{cfg.DeadLetters()}, "read_committed"
	return cfg
}

// scan visits the records of the ranges, those at the places only unless they
// are nil.
func scan(ctx context.Context, cfg consumer.Config, ranges []consumer.Range, only []Place, visit func(chunk.Record) error, logger *slog.Logger) error {
	if only != nil {
		ranges = narrow(ranges, only)
	}
	return consumer.Scan(ctx, lettersOnly(cfg), ranges, nil, func(v consumer.Visited) error {
		if v.Err != nil {
			return fmt.Errorf("partition %d offset %d: %w", v.Record.Partition, v.Record.Offset, v.Err)
		}
		if only != nil {
			if _, wanted := slices.BinarySearchFunc(only, Place{v.Record.Partition, v.Record.Offset}, Place.compare); !wanted {
				return nil
			}
		}
		return visit(v.Record)
	}, logger)
}

// narrow cuts the ranges to the stretch of each partition in which the places
// lie, which are in order.
func narrow(ranges []consumer.Range, places []Place) []consumer.Range {
	first, last := map[int32]int64{}, map[int32]int64{}
	for _, p := range places {
		if _, seen := first[p.Partition]; !seen {
			first[p.Partition] = p.Offset
		}
		last[p.Partition] = p.Offset
	}
	var out []consumer.Range
	for _, r := range ranges {
		if from, ok := first[r.Partition]; ok {
			r.From, r.To = max(r.From, from), min(r.To, last[r.Partition]+1)
			out = append(out, r)
		}
	}
	return out
}

// Group is the letters of one reason.
type Group struct {
	Reason string `json:"reason"`
	// Letters counts all of them, Redriven those that were sent.
	Letters  int `json:"letters"`
	Redriven int `json:"redriven"`
	// First and Last are when they were written.
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Stages []string  `json:"stages"`
	Topics []string  `json:"topics"`
}

// Groups sums letters up by reason, those with the most letters first.
func Groups(letters []Letter) []Group {
	byReason := map[string]*Group{}
	for i := range letters {
		l := &letters[i]
		g := byReason[l.Reason]
		if g == nil {
			g = &Group{Reason: l.Reason, First: l.Written, Last: l.Written}
			byReason[l.Reason] = g
		}
		g.Letters++
		if l.Redriven != nil {
			g.Redriven++
		}
		if l.Written.Before(g.First) {
			g.First = l.Written
		}
		if l.Written.After(g.Last) {
			g.Last = l.Written
		}
		g.Stages, g.Topics = with(g.Stages, l.Stage), with(g.Topics, l.Original.Topic)
	}
	groups := make([]Group, 0, len(byReason))
	for _, g := range byReason {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), strings.Compare(a.Reason, b.Reason))
	})
	return groups
}

// with adds s to a small sorted set.
func with(set []string, s string) []string {
	at, there := slices.BinarySearch(set, s)
	if there {
		return set
	}
	return slices.Insert(set, at, s)
}
