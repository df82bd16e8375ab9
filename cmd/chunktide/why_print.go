package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"chunktide/chunk"
	"chunktide/verify"
)

// shownEvents is how many of the last events are named.
const shownEvents = 8

func newLogExplained(one verify.One, since string) *logExplained {
	l := &logExplained{Answer: string(one.Answer), Right: one.Answer.Right(), Events: len(one.Events), Last: []toldByLog{}, Since: since}
	if one.Want != nil {
		want := newToldByLog(*one.Want)
		l.Want = &want
	}
	for _, e := range one.Events[max(0, len(one.Events)-shownEvents):] {
		l.Last = append(l.Last, newToldByLog(e))
	}
	return l
}

func newToldByLog(e verify.Told) toldByLog {
	t := toldByLog{
		Topic: e.Origin.Topic, Partition: e.Origin.Partition, Offset: e.Origin.Offset, Op: e.Op.String(), Version: e.Version, Time: e.Time,
		State: map[verify.Doubt]string{verify.Certain: "committed", verify.Pending: "not committed yet", verify.Refused: "in the dead letters"}[e.Doubt],
	}
	if e.Hash != (chunk.Hash{}) {
		t.Hash = e.Hash.String()
	}
	return t
}

func (t toldByLog) String() string {
	version := "without a version"
	if t.Version > 0 {
		version = fmt.Sprintf("version %d", t.Version)
	}
	return fmt.Sprintf("%s, %s, at %s %d:%d, of %s, %s", t.Op, version, t.Topic, t.Partition, t.Offset, t.Time.UTC().Format(time.RFC3339Nano), t.State)
}

func (a *app) printWhy(e explained, o whyOptions) error {
	if a.json() {
		return a.printJSON(e)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	row := rows(table)
	row("point", "%s in %s", e.ID, e.Collection)
	if e.Point == nil {
		row("", "the collection has no such point")
	} else {
		e.Point.print(row)
		e.printRecord(row)
		switch {
		case e.Cached.Now == nil:
			row("cache", "not known: %s", e.Cached.Error)
		case *e.Cached.Now:
			row("cache", "the vector of this text is in Redis now")
		default:
			row("cache", "the vector of this text is not in Redis now")
		}
	}
	for _, l := range e.Letters {
		sent := "not redriven"
		if l.Redriven != nil {
			sent = "redriven to " + l.Redriven.To.String()
		}
		row("dead letter", "%s: %s, of %s, %s", l.Place, l.Reason, l.Original, sent)
	}
	e.printLog(row)
	if err := table.Flush(); err != nil {
		return err
	}
	if o.text && e.Point != nil {
		text, err := json.Marshal(e.Point.Text)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.io.out, "%s\n", text)
		return err
	}
	return nil
}

func (p *pointExplained) print(row func(string, string, ...any)) {
	row("chunk", "source %q, document %q, chunk %q", p.Source, p.DocumentID, p.ChunkID)
	state := fmt.Sprintf("lives, with a vector of %d values", p.Values)
	switch {
	case p.Tombstone:
		state = "is deleted: a tombstone"
	case p.Values == 0:
		state = "lives, without a vector of the collection's model"
	}
	row("state", "%s", state)
	row("version", "%d", p.Version)
	if p.Topic == "" {
		row("from", "no topic: a backfill")
	} else {
		row("from", "topic %s, partition %d, offset %d", p.Topic, p.Partition, p.Offset)
	}
	row("times", "event %s, indexed %s", p.EventTime.UTC().Format(time.RFC3339Nano), p.IndexedAt.UTC().Format(time.RFC3339Nano))
	if p.Tombstone {
		return
	}
	row("hash", "%s", p.Hash)
	truncated := "whole"
	if p.Truncated {
		truncated = "TRUNCATED: the text is longer than the model reads"
	}
	row("model", "%s, %s, %s", p.ModelVersion, numberOf(p.Tokens, "token"), truncated)
}

func (e *explained) printRecord(row func(string, string, ...any)) {
	r := e.Record
	switch {
	case r == nil:
		return
	case !r.There:
		row("record", "no longer there: retention or compaction took it")
		return
	case r.Malformed != "":
		row("record", "there, but with these settings it is refused: %s", r.Malformed)
		return
	}
	text := ""
	switch {
	case r.SameText != nil && *r.SameText:
		text = "; its text is the one that was encoded"
	case r.SameText != nil:
		text = "; its text is ANOTHER than the one that was encoded"
	}
	op := r.Op
	if op == "" {
		op = "ANOTHER chunk's event"
	}
	row("record", "there: %s, of %s, key %s%s", op, r.Time.UTC().Format(time.RFC3339Nano), orDash(quoted(r.Key)), text)
	if r.From != "" {
		row("", "redriven from letter %s", r.From)
	}
}

func (e *explained) printLog(row func(string, string, ...any)) {
	l := e.Log
	if l == nil {
		row("log", "not read (--no-log)")
		return
	}
	if l.Want != nil {
		row("log says", "%s", l.Want)
		if l.Want.Hash != "" {
			row("", "hash %s", l.Want.Hash)
		}
	} else {
		row("log says", "nothing of this chunk")
	}
	for _, t := range l.Last {
		if l.Events > 1 {
			row("event", "%s", t)
		}
	}
	if l.Events > len(l.Last) {
		row("", "and %d earlier ones", l.Events-len(l.Last))
	}
	if l.Since != "" {
		row("", "of the log since %s only", l.Since)
	}
	row("VERDICT", "%s", l.Answer)
}
