package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"chunktide/consumer"
)

// judge says what is wrong, but for the why of what its own row tells. A consumer group that rebalances is not: members
// come and go, and it is over in seconds.
func (r *statusReport) judge() {
	wrong := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	switch c := r.Index.Collection; {
	case r.Index.Error != "":
		wrong("index cannot be seen")
	default:
		if c.Status == "red" {
			wrong("index: Qdrant calls collection %s red: look at its logs", c.Name)
		}
		if v := r.Index.Verified; v != nil && v.Total > 0 {
			wrong("index: the last verify found %s; chunktide index verify tells which", numberOf(v.Total, "difference"))
		}
		if len(c.Groups) > 0 && !slices.Contains(c.Groups, r.Group.Name) {
			wrong("index: collection %s is fed by %s, and not by kafka.group %s: it may be that another model's was promoted", c.Name, strings.Join(c.Groups, ", "), r.Group.Name)
		}
	}
	r.judgeGroup(wrong)
	for what, message := range map[string]string{
		"migrations cannot be seen": r.Migrations.Error, "dead letters cannot be seen": r.Letters.Error, "cache cannot be used": r.Cache.Error,
	} {
		if message != "" {
			wrong("%s", what)
		}
	}
	for _, w := range r.Workers {
		switch {
		case w.Error != "" && w.Asked:
			wrong("worker %s cannot be seen", w.URL)
		case w.Error != "":
		case w.Unwell != "":
			wrong("worker %s is not well: %s", w.URL, w.Unwell)
		case w.NotReady != "":
			wrong("worker %s is not ready: %s", w.URL, w.NotReady)
		case w.BacklogEvents > 0 && w.EventsPerSecond == 0 && w.DrainSeconds > stuckAfter.Seconds():
			wrong("worker %s has a backlog of %.0f events, and nothing became durable in the last minute", w.URL, w.BacklogEvents)
		}
	}
	slices.Sort(r.Problems)
	r.Well = len(r.Problems) == 0
}

// stuckAfter is how long the drain of a backlog must take for a rate of zero to
// be a halt, and not a start.
const stuckAfter = time.Minute

func (r *statusReport) judgeGroup(wrong func(string, ...any)) {
	g := r.Group.State
	switch {
	case r.Group.Error != "":
		wrong("group cannot be seen")
	case len(g.Members) == 0:
		wrong("group: no worker is in group %s, and %s: start one (chunktide run)", r.Group.Name, waiting(g.Lag))
	case g.State == "Stable":
		var idle []string
		var lag int64
		for _, p := range g.Partitions {
			if p.Member < 0 && p.Lag > 0 {
				idle, lag = append(idle, fmt.Sprintf("%s/%d", p.Topic, p.Partition)), lag+p.Lag
			}
		}
		if len(idle) > 0 {
			wrong("group: nobody works on %s, where %s", some(idle, 6), waiting(lag))
		}
	}
}

func waiting(n int64) string { return oneOrMore(n, "record waits", "records wait") }

func tombstones(n int) string { return oneOrMore(n, "is a tombstone", "are tombstones") }

// some names the first few.
func some(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// shownPartitions is how many partitions fit on the screen.
const shownPartitions = 12

func (r *statusReport) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := rows(table)
	r.printIndex(row)
	r.printGroup(row)
	if r.Migrations.Error != "" {
		row("migration", "cannot be seen: %s", r.Migrations.Error)
	}
	for _, m := range r.Migrations.Running {
		row("migration", "to %s: %s, %s, %s behind, %s", m.Collection.Name, m.Phase, numberOf(m.Collection.Points, "point"), numberOf(m.Lag, "record"), numberOf(m.Members, "worker"))
	}
	r.printLetters(row)
	switch {
	case !r.Cache.Redis:
		row("cache", "no Redis: each worker keeps vectors in memory only")
	case r.Cache.Error != "":
		row("cache", "cannot be used: %s", r.Cache.Error)
	default:
		row("cache", "Redis answers")
	}
	for _, w := range r.Workers {
		w.print(row, r.At)
	}
	if len(r.Workers) == 0 {
		row("worker", "none was asked: give --admin URL")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Well {
		_, err := fmt.Fprintln(out, "\nAll is well.")
		return err
	}
	_, err := fmt.Fprintf(out, "\nWRONG:\n  - %s\n", strings.Join(r.Problems, "\n  - "))
	return err
}

func (r *statusReport) printIndex(row func(string, string, ...any)) {
	c := r.Index.Collection
	if c == nil {
		row("index", "%s cannot be seen: %s", r.Index.Alias, r.Index.Error)
		return
	}
	row("index", "%s -> %s (%s)", r.Index.Alias, c.Name, c.Status)
	row("model", "%s, %d dimensions", c.Model.Version, c.Model.Dim)
	row("points", "%d, of which %s", c.Points, tombstones(c.Tombstones))
	if v := r.Index.Verified; v == nil {
		row("verified", "never")
	} else {
		row("verified", "%s ago: %s in %s", ago(r.At, v.At), numberOf(v.Total, "difference"), numberOf(v.Points, "point"))
	}
}

func (r *statusReport) printGroup(row func(string, string, ...any)) {
	g := r.Group.State
	if g == nil {
		row("group", "%s cannot be seen: %s", r.Group.Name, r.Group.Error)
		return
	}
	row("group", "%s: %s, %s, %s behind", r.Group.Name, g.State, numberOf(len(g.Members), "worker"), numberOf(g.Lag, "record"))
	for _, m := range g.Members {
		var lag int64
		for _, p := range g.Partitions {
			if p.Member >= 0 && g.Members[p.Member].ID == m.ID {
				lag += p.Lag
			}
		}
		row("", "%s: %s; %d behind", m.Member, partitions(m.Partitions), lag)
	}
	behind := slices.Clone(g.Partitions)
	behind = slices.DeleteFunc(behind, func(p consumer.PartitionState) bool { return p.Lag == 0 })
	slices.SortStableFunc(behind, func(a, b consumer.PartitionState) int { return cmp.Compare(b.Lag, a.Lag) })
	for i, p := range behind {
		if i == shownPartitions {
			row("", "and %s behind; -o json has all", oneOrMore(len(behind)-i, "more partition that is", "more partitions that are"))
			break
		}
		whose := ""
		if p.Member < 0 {
			whose = ", nobody's"
		}
		row(fmt.Sprintf("  %s/%d", p.Topic, p.Partition), "committed %s of %d, %d behind%s", offset(p.Committed), p.End, p.Lag, whose)
	}
}

// partitions names what a member works on: docs 0-3, 5.
func partitions(list []consumer.TopicPartition) string {
	if len(list) == 0 {
		return "no partition"
	}
	var out []string
	for i := 0; i < len(list); {
		n := i + 1
		for n < len(list) && list[n].Topic == list[i].Topic && list[n].Partition == list[n-1].Partition+1 {
			n++
		}
		stretch := fmt.Sprint(list[i].Partition)
		if n > i+1 {
			stretch = fmt.Sprintf("%d-%d", list[i].Partition, list[n-1].Partition)
		}
		if i == 0 || list[i].Topic != list[i-1].Topic {
			stretch = list[i].Topic + " " + stretch
		}
		out = append(out, stretch)
		i = n
	}
	return some(out, 12)
}

func (r *statusReport) printLetters(row func(string, string, ...any)) {
	l := r.Letters
	switch {
	case l.Error != "" && l.Offsets > 0:
		row("dead letters", "%d at most in %s, which could not be read in time: %s", l.Offsets, l.Topic, l.Error)
		return
	case l.Error != "":
		row("dead letters", "cannot be seen: %s", l.Error)
		return
	case l.Letters == 0:
		row("dead letters", "none")
		return
	}
	row("dead letters", "%d, of which %s; the newest %s ago: %s, from %s", l.Letters, oneOrMore(l.Redriven, "was redriven", "were redriven"), ago(r.At, l.Newest.Written),
		orDash(l.Newest.Reason), l.Newest.Original)
	var reasons []string
	for _, g := range l.Reasons {
		reasons = append(reasons, fmt.Sprintf("%s %d", orDash(g.Reason), g.Letters))
	}
	row("", "%s", some(reasons, 8))
}

func (w *workerReported) print(row func(string, string, ...any), now time.Time) {
	switch {
	case w.Error != "" && !w.Asked:
		row("worker", "none answers at %s (admin.address); give --admin URL for each", w.URL)
		return
	case w.Error != "":
		row("worker", "%s cannot be seen: %s", w.URL, w.Error)
		return
	}
	state := "ready"
	switch {
	case w.Unwell != "":
		state = "NOT WELL"
	case w.NotReady != "":
		state = "NOT READY"
	}
	up := ""
	if !w.Started.IsZero() {
		up = ", up " + ago(now, w.Started)
	}
	row("worker", "%s %s%s, %s", w.URL, state, up, w.Model)
	row("", "backlog %.0f events, level in %s at %.1f events/s", w.BacklogEvents, howLong(w.DrainSeconds), w.EventsPerSecond)
	if w.FreshnessP50 != nil && w.FreshnessP99 != nil {
		rate := "-"
		if w.HitRate != nil {
			rate = fmt.Sprintf("%.1f%%", 100**w.HitRate)
		}
		row("", "since its start: freshness p50 %s, p99 %s; model calls saved %s", howLong(*w.FreshnessP50), howLong(*w.FreshnessP99), rate)
	}
}

func ago(now, then time.Time) string { return howLong(now.Sub(then).Seconds()) }

// howLong is a time in words as exact as it need be.
func howLong(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case s >= 1e9:
		return "years"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
