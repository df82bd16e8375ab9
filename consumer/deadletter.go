package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// Headers of a dead letter, beside the record's own. The first seven are those
// of Kafka Connect's error reporter, which tools read already. Numbers are
// decimal; the timestamp is the original record's, in milliseconds.
const (
	HeaderTopic     = "__connect.errors.topic"
	HeaderPartition = "__connect.errors.partition"
	HeaderOffset    = "__connect.errors.offset"
	HeaderStage     = "__connect.errors.stage"
	HeaderReason    = "__connect.errors.exception.class.name" // a chunk.Reason
	HeaderMessage   = "__connect.errors.exception.message"
	HeaderTimestamp = "__connect.errors.timestamp"
	// HeaderFirstOffset is there if the letter stands for a whole record batch
	// that could not be read: the batch begins at that offset, and ends at that
	// of HeaderOffset.
	HeaderFirstOffset = "chunktide.first_offset"
	// HeaderOmitted is there if the record was too large to be copied: it
	// tells what was left out and how many bytes that is. The record itself
	// lies where the first three headers say, as long as its topic keeps it.
	HeaderOmitted = "chunktide.omitted"
)

// Headers of a redrive; see package deadletter.
const (
	// HeaderRedriven is that of a marker: a record beside the letters which says
	// that one of them, partition:offset, was sent to its topic once more.
	HeaderRedriven = "chunktide.redriven"
	// HeaderRedrivenFrom is that of what was sent: the letter that it was,
	// topic:partition:offset.
	HeaderRedrivenFrom = "chunktide.redriven_from"
)

const maxMessage = 4 << 10

// deadLetters writes to the dead-letter topic. It keeps no state.
type deadLetters struct {
	client  *kgo.Client
	topic   string
	metrics *metrics
}

type deadLetter struct {
	record  *kgo.Record
	skipped *int64 // see HeaderFirstOffset; nil for a letter of one record
	stage   string
	err     error // permanent
}

// delivery is dead letters on their way.
type delivery struct {
	done chan struct{}
	err  error // once done is closed
}

func (d *delivery) wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start writes letters in the background, until ctx ends.
func (d deadLetters) start(ctx context.Context, letters []deadLetter) *delivery {
	del := &delivery{done: make(chan struct{})}
	go func() {
		defer close(del.done)
		del.err = d.write(ctx, letters)
	}()
	return del
}

// write returns nil when all letters are durable: acknowledged by every
// in-sync replica. What a broker calls too large is tried again by itself and
// then in ever smaller forms.
func (d deadLetters) write(ctx context.Context, letters []deadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	large, err := d.produce(ctx, letters, whole)
	if err != nil {
		return err
	}
	for i := range large {
		if err := d.writeLarge(ctx, large[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (d deadLetters) writeLarge(ctx context.Context, letter []deadLetter) error {
	for _, f := range []form{whole, withoutValue, originOnly} {
		large, err := d.produce(ctx, letter, f)
		if err != nil {
			return err
		}
		if len(large) == 0 {
			if f != whole {
				d.metrics.lettersCut.Inc()
			}
			return nil
		}
	}
	return fmt.Errorf("write a dead letter to %s: the topic takes not even its headers; raise its max.message.bytes: %w", d.topic, kerr.MessageTooLarge)
}

// produce writes letters in one form and returns those that are too large.
func (d deadLetters) produce(ctx context.Context, letters []deadLetter, f form) (large []deadLetter, err error) {
	records := make([]*kgo.Record, len(letters))
	index := make(map[*kgo.Record]int, len(letters))
	for i := range letters {
		records[i] = letters[i].encode(d.topic, f)
		index[records[i]] = i
	}
	for _, r := range d.client.ProduceSync(ctx, records...) {
		letter := letters[index[r.Record]]
		switch {
		case r.Err == nil:
			reason, _ := chunk.ReasonOf(letter.err)
			d.metrics.deadLetter(reason)
		case errors.Is(r.Err, kerr.MessageTooLarge), errors.Is(r.Err, kerr.RecordListTooLarge):
			large = append(large, letter)
		case errors.Is(r.Err, kerr.UnknownTopicOrPartition):
			err = fmt.Errorf("write %d dead letters: topic %s does not exist; create it, or set create_topics.enabled: %w", len(letters), d.topic, r.Err)
		case errors.Is(r.Err, kerr.TopicAuthorizationFailed):
			err = fmt.Errorf("write %d dead letters: grant WRITE on topic %s to this client: %w", len(letters), d.topic, r.Err)
		default:
			err = fmt.Errorf("write %d dead letters to topic %s: %w", len(letters), d.topic, r.Err)
		}
	}
	return large, err
}

// form is how much of the original record a dead letter carries.
type form int

const (
	whole form = iota
	withoutValue
	originOnly
)

func (l *deadLetter) encode(topic string, f form) *kgo.Record {
	r := l.record
	out := &kgo.Record{Topic: topic}
	if f == whole {
		out.Value = r.Value
	}
	if f != originOnly {
		out.Key = r.Key
		out.Headers = append(out.Headers, r.Headers...)
	}
	reason, _ := chunk.ReasonOf(l.err)
	message := l.err.Error()
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	header := func(key, value string) {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	header(HeaderTopic, r.Topic)
	header(HeaderPartition, strconv.Itoa(int(r.Partition)))
	header(HeaderOffset, strconv.FormatInt(r.Offset, 10))
	header(HeaderStage, l.stage)
	header(HeaderReason, string(reason))
	header(HeaderMessage, message)
	header(HeaderTimestamp, strconv.FormatInt(r.Timestamp.UnixMilli(), 10))
	if l.skipped != nil {
		header(HeaderFirstOffset, strconv.FormatInt(*l.skipped, 10))
		header(HeaderOmitted, "a record batch")
	}
	switch f {
	case whole:
	case withoutValue:
		header(HeaderOmitted, fmt.Sprintf("value %d bytes", len(r.Value)))
	case originOnly:
		header(HeaderOmitted, fmt.Sprintf("key, value and headers %d bytes", size(r)))
	}
	return out
}
