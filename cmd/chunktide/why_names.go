package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/deadletter"
	"chunktide/sink"
	"chunktide/verify"
)

// named is a point, and its names as far as they are known.
type named struct {
	id                      chunk.ID
	source, document, chunk string
}

func newNamed(source, document, name string) named {
	n := named{source: source, document: document, chunk: name, id: chunk.NewID(source, document, name)}
	if name == "" {
		n.id = chunk.NewDocumentID(source, document)
	}
	return n
}

// documentID is zero where the document is not known.
func (n *named) documentID() chunk.ID {
	if n.document == "" {
		return chunk.ID{}
	}
	return chunk.NewDocumentID(n.source, n.document)
}

func (n *named) String() string {
	return fmt.Sprintf("--source %q --document %q --chunk %q", n.source, n.document, n.chunk)
}

// maxSlashes bounds how many ways there are to read an argument.
const maxSlashes = 24

// candidates are the points that the flags or the argument may mean.
func candidates(o whyOptions, arg string, cfg configs.Config) ([]named, error) {
	flags := o.source != "" || o.document != "" || o.chunk != ""
	switch {
	case flags && arg != "":
		return nil, usagef("why: name the chunk by the argument or by --source, --document and --chunk, not by both")
	case flags && o.document == "":
		return nil, usagef("why: --document is missing")
	case !flags && arg == "":
		return nil, usagef("why: which chunk? Give its point's id, source/document/chunk, or --document and --chunk")
	}
	if id, err := chunk.ParseID(arg); err == nil && arg != "" {
		return []named{{id: id}}, nil
	}
	if cfg.Events.Identity == chunk.IdentityContent && (!flags || o.chunk != "") {
		return nil, usagef("why: with events.identity content a chunk's id is made of its text: give the point's id")
	}
	if flags {
		source := o.source
		if source == "" {
			source = cfg.Events.DefaultSource
		}
		if source == "" && len(cfg.Kafka.Topics) != 1 {
			return nil, usagef("why: --source is missing: there is no events.default_source, and more than one topic")
		}
		if source == "" {
			source = cfg.Kafka.Topics[0]
		}
		return []named{newNamed(source, o.document, o.chunk)}, nil
	}
	parts := strings.Split(arg, "/")
	if len(parts) < 3 || len(parts) > maxSlashes {
		return nil, usagef("why: %q is neither a point's id nor source/document/chunk; --source, --document and --chunk take any names", arg)
	}
	var all []named
	for i := 1; i < len(parts)-1; i++ {
		for j := i + 1; j < len(parts); j++ {
			n := newNamed(strings.Join(parts[:i], "/"), strings.Join(parts[i:j], "/"), strings.Join(parts[j:], "/"))
			if n.source != "" && n.document != "" && n.chunk != "" {
				all = append(all, n)
			}
		}
	}
	if len(all) == 0 {
		return nil, usagef("why: %q has an empty name", arg)
	}
	return all, nil
}

// choose takes the candidate that the index has; where there is one only, it is
// that in any case.
func choose(names []named, found map[chunk.ID]sink.Record) (named, error) {
	if len(names) == 1 {
		return names[0], nil
	}
	var there []named
	for _, n := range names {
		if _, ok := found[n.id]; ok {
			there = append(there, n)
		}
	}
	switch len(there) {
	case 1:
		return there[0], nil
	case 0:
		return named{}, usagef("why: the argument can be read in %d ways, and the index has a chunk under none of them: say which by --source, --document and --chunk", len(names))
	}
	var ways []string
	for i := range there {
		ways = append(ways, "  "+there[i].String())
	}
	return named{}, usagef("why: the argument can be read in several ways of which the index has chunks:\n%s", strings.Join(ways, "\n"))
}

// lettersOf are the dead letters of a chunk: those of its events, and those
// whose key names it, since what cannot be decoded is no event.
func lettersOf(letters []deadletter.Letter, who named, events []verify.Told) (out []deadletter.Letter) {
	places := map[chunk.Origin]bool{}
	for i := range events {
		places[events[i].Origin] = true
	}
	for i := range letters {
		l := &letters[i]
		if places[chunk.Origin(l.Original)] || keyNames(l.Key, who) {
			out = append(out, *l)
		}
	}
	return out
}

// keyNames reports whether a record's key is that of the chunk, as EVENTS.md
// has it.
func keyNames(key string, who named) bool {
	var k struct {
		Source     *string `json:"source"`
		DocumentID any     `json:"document_id"`
		ChunkID    any     `json:"chunk_id"`
	}
	if who.document == "" || json.Unmarshal([]byte(key), &k) != nil || k.DocumentID == nil {
		return false
	}
	name := func(v any) string {
		if v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	return (k.Source == nil || *k.Source == who.source) && name(k.DocumentID) == who.document && name(k.ChunkID) == who.chunk
}

// newestOpen is the last letter that was not redriven.
func newestOpen(letters []deadletter.Letter) *deadletter.Letter {
	var last *deadletter.Letter
	for i := range letters {
		if l := &letters[i]; l.Redriven == nil && (last == nil || l.Written.After(last.Written)) {
			last = l
		}
	}
	return last
}

// after reports whether a letter is of a later record than all that the log
// says of the chunk, and than what the index has.
func after(l *deadletter.Letter, record *sink.Record, events []verify.Told) bool {
	precedes := func(o chunk.Origin, otherwise bool) bool {
		if o.SamePartition(chunk.Origin(l.Original)) {
			return o.Offset < l.Original.Offset
		}
		return otherwise
	}
	if record != nil && !precedes(chunk.Origin{Topic: record.Topic, Partition: record.Partition, Offset: record.Offset}, l.Time.After(record.EventTime)) {
		return false
	}
	for i := range events {
		if !precedes(events[i].Origin, l.Time.After(events[i].Time)) {
			return false
		}
	}
	return true
}
