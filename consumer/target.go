package consumer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is where the offsets of a group are to go; see [ParseTarget].
type Target struct {
	where targetKind
	at    time.Time
	// offsets are of the partitions that are named; a partition number of an
	// unnamed topic has the topic "".
	offsets map[topicPartition]int64
}

type targetKind uint8

const (
	toEarliest targetKind = iota + 1
	toLatest
	toTime
	toOffsets
)

const targetForms = "want earliest, latest, a time like 2006-01-02T15:04:05Z, a time from now like -2h, " +
	"or offsets like 0=120,3=0 (docs:0=120 where there are several topics)"

// ParseTarget reads
//
//   - earliest: the first record that is there;
//   - latest: the end, so that what was not read is skipped;
//   - a time (RFC 3339), or one relative to now (-2h, -30m, …): the first
//     record whose timestamp is not before it;
//   - offsets: partition=offset pairs with commas between them, topic:partition
//     where the group reads several topics. Partitions that are not named stay
//     where they are.
func ParseTarget(text string, now time.Time) (Target, error) {
	switch text {
	case "earliest":
		return Target{where: toEarliest}, nil
	case "latest":
		return Target{where: toLatest}, nil
	}
	if strings.Contains(text, "=") {
		return parseOffsets(text)
	}
	if strings.HasPrefix(text, "-") {
		back, err := time.ParseDuration(text)
		if err != nil || back >= 0 {
			return Target{}, fmt.Errorf("%q is no time from now: %s", text, targetForms)
		}
		return Target{where: toTime, at: now.Add(back)}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Target{}, fmt.Errorf("%q: %s", text, targetForms)
	}
	if at.After(now) {
		return Target{}, fmt.Errorf("%s has not come yet: to skip what is there, say latest", text)
	}
	return Target{where: toTime, at: at}, nil
}

func parseOffsets(text string) (Target, error) {
	t := Target{where: toOffsets, offsets: map[topicPartition]int64{}}
	for _, pair := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		var id topicPartition
		number := name
		if i := strings.LastIndex(name, ":"); i >= 0 {
			id.topic, number = name[:i], name[i+1:]
		}
		partition, err := strconv.ParseInt(number, 10, 32)
		if err != nil || partition < 0 {
			return Target{}, fmt.Errorf("%q has no partition number before the =: %s", pair, targetForms)
		}
		id.partition = int32(partition)
		offset, err := strconv.ParseInt(value, 10, 64)
		if err != nil || offset < 0 {
			return Target{}, fmt.Errorf("%q has no offset behind the =: %s", pair, targetForms)
		}
		if _, double := t.offsets[id]; double {
			return Target{}, fmt.Errorf("%s is given twice", name)
		}
		t.offsets[id] = offset
	}
	return t, nil
}

// named gives each offset its topic: the only one, where none was named.
func (t Target) named(topics []string) (map[topicPartition]int64, error) {
	out := make(map[topicPartition]int64, len(t.offsets))
	for _, id := range sortedKeys(t.offsets) {
		offset := t.offsets[id]
		if id.topic == "" {
			if len(topics) != 1 {
				return nil, fmt.Errorf("partition %d of which topic? The group reads %s: write %s:%d=%d",
					id.partition, strings.Join(topics, ", "), topics[0], id.partition, offset)
			}
			id.topic = topics[0]
		}
		if !slices.Contains(topics, id.topic) {
			return nil, fmt.Errorf("topic %s is none that the group reads (kafka.topics: %s)", id.topic, strings.Join(topics, ", "))
		}
		out[id] = offset
	}
	return out, nil
}
