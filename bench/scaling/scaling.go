// Package scaling works out what an index of a given size takes: partitions,
// workers, encoders, shards, memory and disk. Each figure is a formula over
// sizes that were measured (package bench) and a few assumptions; docs/SCALING.md
// shows both.
package scaling

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Sizes are what was measured, on one machine.
type Sizes struct {
	// Cores is how many the machine had; the rates are of one worker with all of
	// them.
	Cores int `json:"cores"`
	// ModelVersion is what was encoded with.
	ModelVersion string `json:"model_version"`
	// TextBytes and TextTokens are the corpus's mean.
	TextBytes  float64 `json:"text_bytes"`
	TextTokens float64 `json:"text_tokens"`
	// EventBytes is a native event's key and value; KafkaBytes what it takes in
	// the broker's log, compressed.
	EventBytes float64 `json:"event_bytes"`
	KafkaBytes float64 `json:"kafka_bytes"`
	// PayloadBytes is a point's payload beside its text, as protobuf.
	PayloadBytes float64 `json:"payload_bytes"`
	// RedisBytes is what one vector takes in Redis, key and bookkeeping
	// included, by "dimensions dtype".
	RedisBytes map[string]float64 `json:"redis_bytes"`
	// TokensPerSecond is a worker's, whose texts all go through the model;
	// EventsPerSecond one's whose vectors are all in the cache.
	TokensPerSecond float64 `json:"tokens_per_second"`
	EventsPerSecond float64 `json:"events_per_second"`
}

// Assumptions are yours to replace.
type Assumptions struct {
	Dimensions int
	// Tokens is of a chunk.
	Tokens float64
	// Daily is the share of the chunks that change in a day; Peak how much more
	// than the mean the busiest minutes bring.
	Daily, Peak float64
	// HitRate is the share of changes whose text was seen before.
	HitRate float64
	// BackfillHours is how long filling an index anew may take.
	BackfillHours float64
	// Replication is of Qdrant's shards, KafkaReplication of the topic.
	Replication, KafkaReplication float64
	// NodeGiB is the memory of one node of Qdrant or Redis.
	NodeGiB float64
	// Load is how much of a capacity is used at the peak.
	Load float64
}

// DefaultAssumptions are those of docs/SCALING.md.
func DefaultAssumptions() Assumptions {
	return Assumptions{
		Dimensions: 384, Tokens: 220, Daily: .01, Peak: 5, HitRate: .15, BackfillHours: 24,
		Replication: 2, KafkaReplication: 3, NodeGiB: 64, Load: .7,
	}
}

// Figure is one row: a value for each size.
type Figure struct {
	Name, Formula string
	Values        []string
}

const (
	gib = 1 << 30
	// qdrantOverhead is Qdrant's own rule for vectors with their graph
	// (capacity planning guide: vectors × dimensions × 4 bytes × 1.5).
	qdrantOverhead = 1.5
	// compaction is what a compacted topic holds over its live records, at
	// min.cleanable.dirty.ratio 0.5.
	compaction = 1.5
	// spillBytes is what verify writes for an event.
	spillBytes = 99
)

// Plan is what indexes of so many chunks take.
func Plan(s Sizes, a Assumptions, chunks ...float64) []Figure {
	var figures []Figure
	row := func(name, formula string, value func(c float64) string) {
		f := Figure{Name: name, Formula: formula}
		for _, c := range chunks {
			f.Values = append(f.Values, value(c))
		}
		figures = append(figures, f)
	}
	changes := func(c float64) float64 { return c * a.Daily / 86400 * a.Peak }
	tokens := func(c float64) float64 { return changes(c) * (1 - a.HitRate) * a.Tokens }
	backfill := func(c float64) float64 { return c * (1 - a.HitRate) * a.Tokens / (a.BackfillHours * 3600) }
	workers := func(tokens, events float64) float64 {
		return max(1, math.Ceil(tokens/(a.Load*s.TokensPerSecond)), math.Ceil(events/(a.Load*s.EventsPerSecond)))
	}
	live := func(c float64) float64 { return workers(tokens(c), changes(c)) }
	filling := func(c float64) float64 { return workers(backfill(c), c/(a.BackfillHours*3600)) }
	writers := func(c float64) float64 { // with the model elsewhere
		return max(1, math.Ceil(max(changes(c), c/(a.BackfillHours*3600))/(a.Load*s.EventsPerSecond)))
	}
	vectors := func(c float64) float64 { return c * float64(a.Dimensions) * 4 * qdrantOverhead }
	text := a.Tokens * s.TextBytes / s.TextTokens
	nodes := func(bytes float64) float64 { return max(1, math.Ceil(bytes/(a.Load*a.NodeGiB*gib))) }
	redis := func(c float64) float64 { return c * s.RedisBytes[strconv.Itoa(a.Dimensions)+" fp32"] }

	row("changes/s at the peak", "C·r/86400·p", func(c float64) string { return rate(changes(c)) })
	row("tokens/s to encode", "changes·(1−h)·T", func(c float64) string { return rate(tokens(c)) })
	row("workers, model on their cores", "max(tokens/(L·E), changes/(L·R))", func(c float64) string { return count(live(c)) })
	row("to fill it in a day: tokens/s", "C·(1−h)·T/day", func(c float64) string { return rate(backfill(c)) })
	row("workers for that, on their cores", "max(tokens/(L·E), C/day/(L·R))", func(c float64) string { return count(filling(c)) })
	row("workers for that, model in a service", "max(changes, C/day)/(L·R)", func(c float64) string { return count(writers(c)) })
	row("partitions", "twice the workers beside a service, of 12, 24, 48 …", func(c float64) string { return count(partitions(2 * max(writers(c), min(live(c), 48)))) })
	row("the topic, compacted, on all brokers", "C·K·1.5·3", func(c float64) string { return size(c * kafka(s, text) * compaction * a.KafkaReplication) })
	row("Qdrant: vectors in memory", "C·d·4·1.5", func(c float64) string { return size(vectors(c)) })
	row("Qdrant: int8 in memory, floats on disk", "C·d·1.5", func(c float64) string { return size(vectors(c) / 4) })
	row("Qdrant: disk, a replica", "C·(d·4·1.5 + payload)", func(c float64) string { return size(vectors(c) + c*(s.PayloadBytes+text)) })
	row("Qdrant: nodes, floats in memory", "memory/(L·M)·replicas", func(c float64) string { return count(a.Replication * nodes(vectors(c))) })
	row("Qdrant: nodes, int8 in memory", "memory/(L·M)·replicas", func(c float64) string { return count(a.Replication * nodes(vectors(c)/4)) })
	row("Qdrant: shards", "twice the nodes of a replica, int8 from 10⁹ on", func(c float64) string {
		held := vectors(c)
		if c >= 1e9 {
			held /= 4
		}
		return count(2 * nodes(held))
	})
	row("Redis: every vector, fp32", "C·B", func(c float64) string { return size(redis(c)) })
	row("Redis: nodes for that", "C·B/(L·M)", func(c float64) string { return count(nodes(redis(c))) })
	row("disk of index verify, spilled", "99·C", func(c float64) string { return size(spillBytes * c) })
	return figures
}

// kafka is an event's size in the log with a text of so many bytes: what was
// measured, stretched in proportion.
func kafka(s Sizes, text float64) float64 {
	return s.KafkaBytes * (s.EventBytes - s.TextBytes + text) / s.EventBytes
}

// partitions is the next of 12, 24, 48, ….
func partitions(workers float64) float64 {
	n := 12.
	for n < workers {
		n *= 2
	}
	return n
}

// Table is Markdown.
func Table(figures []Figure, heads ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | formula | %s |\n| --- | --- |%s\n", strings.Join(heads, " | "), strings.Repeat(" ---: |", len(heads)))
	for _, f := range figures {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.Name, f.Formula, strings.Join(f.Values, " | "))
	}
	return b.String()
}

// Measured is Markdown, too.
func Measured(s Sizes) string {
	var b strings.Builder
	b.WriteString("| | what | measured |\n| --- | --- | ---: |\n")
	line := func(symbol, what, value string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", symbol, what, value) }
	line("E", fmt.Sprintf("tokens/s of a worker whose texts all go through the model, on %d cores, %s", s.Cores, s.ModelVersion), rate(s.TokensPerSecond))
	line("R", fmt.Sprintf("events/s of a worker whose vectors are all in the cache; %d cores shared with Kafka, Redis and the index", s.Cores), rate(s.EventsPerSecond))
	line("", "bytes of a token's text", fmt.Sprintf("%.2f", s.TextBytes/s.TextTokens))
	line("K", fmt.Sprintf("bytes of a native event in the broker's log, compressed by the producer; %.0f before, %.0f of them text", s.EventBytes, s.TextBytes), rate(s.KafkaBytes))
	line("", "bytes of a point's payload beside its text", rate(s.PayloadBytes))
	for _, kind := range []string{"384 fp32", "384 fp16", "768 fp32", "1024 fp32"} {
		line("B", "bytes of a vector in Redis, key and bookkeeping included: "+kind, rate(s.RedisBytes[kind]))
	}
	return b.String()
}

// rate has two significant digits below a hundred and none behind the point
// above.
func rate(v float64) string {
	if v < 10 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return grouped(math.Round(v))
}

func count(v float64) string { return grouped(math.Ceil(v)) }

// grouped writes a whole number with separators.
func grouped(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func size(bytes float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"TB", 1e12}, {"GB", 1e9}} {
		if bytes >= u.size {
			return strconv.FormatFloat(bytes/u.size, 'g', 3, 64) + " " + u.name
		}
	}
	return strconv.FormatFloat(math.Ceil(bytes/1e6), 'f', 0, 64) + " MB"
}
