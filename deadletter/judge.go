package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/consumer"
)

// Verdict is what a redrive does with a letter, or would do.
type Verdict struct {
	Letter
	// Send says that it is sent; Why says why not.
	Send bool   `json:"send"`
	Why  string `json:"why,omitempty"`
	// Sent says that this run has sent it.
	Sent bool `json:"sent"`
	// Twin says that another letter of this run has the same original.
	Twin bool `json:"twin,omitempty"`

	record *kgo.Record
}

// judge decides what may be sent. Use it from one goroutine.
type judge struct {
	cfg    consumer.Config
	decode func(chunk.Record) ([]chunk.Event, error)
	named  func(*Letter) bool
	adm    *kadm.Client
	logger *slog.Logger
	// partitions and stamps are what was asked of the brokers, by topic.
	partitions map[string]int
	stamps     map[string]stamp
}

// stamp tells whose time a topic's records bear.
type stamp struct {
	broker bool
	// unknown says why that cannot be told.
	unknown string
}

// consider fills in whether a letter is to be sent, and what. full is the
// letter as it lies. The error is one that keeps anything from being told.
func (j *judge) consider(ctx context.Context, v *Verdict, full chunk.Record) (err error) {
	if v.Why = j.forbids(&v.Letter); v.Why != "" {
		return nil
	}
	if v.Why, err = j.away(ctx, &v.Letter); v.Why != "" || err != nil {
		return err
	}
	original := consumer.ParseLetter(full)
	r := chunk.Record{Origin: original.Original, Timestamp: v.Time, Key: full.Key, Value: full.Value, Headers: original.Own}
	if v.Omitted != "" {
		found, ok, err := Lies(ctx, j.cfg, v.Letter, j.logger)
		if err != nil {
			return err
		}
		if !ok {
			v.Why = fmt.Sprintf("the letter lacks its %s, and the original is gone from %s: publish the event anew", v.Omitted, v.Original)
			return nil
		}
		r = found
	}
	if v.Why, err = j.refuses(ctx, r); v.Why != "" || err != nil {
		return err
	}
	v.Send, v.record = true, newRecord(r, j.cfg.DeadLetters(), v.Place)
	return nil
}

// forbids is why a letter is left whatever it says; "" for nothing.
func (j *judge) forbids(l *Letter) string {
	_, known := AdviceOn(l.Reason)
	switch {
	case l.Redriven != nil && l.Redriven.Letter == l.Place:
		return fmt.Sprintf("sent already, on %s, to %s", l.Redriven.At.Format(time.RFC3339), l.Redriven.To)
	case l.Redriven != nil:
		return fmt.Sprintf("its original was sent already, by letter %s on %s, to %s", l.Redriven.Letter, l.Redriven.At.Format(time.RFC3339), l.Redriven.To)
	case !known:
		return fmt.Sprintf("no worker of Chunktide gives the reason %q: somebody else wrote it", l.Reason)
	case l.First >= 0:
		return fmt.Sprintf("it stands for a whole record batch: raise kafka.decompress_max_bytes, and read it again with chunktide replay --to %d=%d",
			l.Original.Partition, l.First)
	case !slices.Contains(j.cfg.Topics, l.Original.Topic):
		return fmt.Sprintf("it is of topic %s, which these settings do not read (kafka.topics): use those of the workers that do", l.Original.Topic)
	case l.Reason == string(chunk.ReasonKilledWorkers) && !j.named(l):
		return "it killed workers, and may again: name it by --reason killed_workers or --offset " + l.Place.String()
	case l.Tombstone:
		return "it is a tombstone, which deletes what precedes it: at the end of the topic that would be another state; publish a delete with a version"
	default:
		return ""
	}
}

// away is why a letter has nowhere to go back to.
func (j *judge) away(ctx context.Context, l *Letter) (string, error) {
	topic := l.Original.Topic
	if _, asked := j.partitions[topic]; !asked {
		details, err := j.adm.ListTopics(ctx, topic)
		if err != nil {
			return "", fmt.Errorf("ask for the partitions of %s: %w", topic, err)
		}
		d := details[topic]
		if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return "", fmt.Errorf("ask for the partitions of %s: %w", topic, d.Err)
		}
		j.partitions[topic] = len(d.Partitions)
	}
	if n := j.partitions[topic]; int(l.Original.Partition) >= n {
		return fmt.Sprintf("topic %s has no partition %d now, but %d in all: publish the event anew", topic, l.Original.Partition, n), nil
	}
	return "", nil
}

// refuses is why a record is not sent for what it says. Whether the model or
// the index would refuse it once more is not tried.
func (j *judge) refuses(ctx context.Context, r chunk.Record) (string, error) {
	events, err := decodeSafely(j.decode, r)
	if err != nil {
		reason, _ := chunk.ReasonOf(err)
		return fmt.Sprintf("with these settings it would be refused again (%s): %v", reason, err), nil
	}
	if len(events) == 0 {
		return "with these settings it is no change of a chunk", nil
	}
	for i := range events {
		if events[i].Versionless() {
			return "it is a delete without a version, which deletes what precedes it: at the end of the topic that would be another state; publish one with a version", nil
		}
	}
	if !j.stamped(r, events) {
		return "", nil
	}
	// The version is made of the record's time. That goes along, so that the
	// event stays as old as it is, unless the broker puts in its own.
	s, err := j.stamp(ctx, r.Topic)
	switch {
	case err != nil:
		return "", err
	case r.Timestamp.IsZero():
		return "it has no version of its own, and its letter no time to make one of: publish the event anew", nil
	case s.unknown != "":
		return fmt.Sprintf("its version is made of its time, and whether topic %s would keep that cannot be told (grant DESCRIBE_CONFIGS): %s", r.Topic, s.unknown), nil
	case s.broker:
		return fmt.Sprintf("its version is made of its time, and topic %s gives it a new one (message.timestamp.type), so that it would replace what is newer: publish the event anew", r.Topic), nil
	}
	return "", nil
}

// stamped reports whether a version is made of the record's time: then it
// changes with it.
func (j *judge) stamped(r chunk.Record, events []chunk.Event) bool {
	r.Timestamp = r.Timestamp.Add(time.Hour)
	later, err := decodeSafely(j.decode, r)
	if err != nil || len(later) != len(events) {
		return true
	}
	for i := range later {
		if later[i].Version != events[i].Version {
			return true
		}
	}
	return false
}

// stamp asks once whether a topic's records bear the broker's time.
func (j *judge) stamp(ctx context.Context, topic string) (stamp, error) {
	if s, asked := j.stamps[topic]; asked {
		return s, nil
	}
	var s stamp
	answers, err := j.adm.DescribeTopicConfigs(ctx, topic)
	if err == nil {
		var c kadm.ResourceConfig
		c, err = answers.On(topic, nil)
		if err == nil {
			err = c.Err
		}
		for _, entry := range c.Configs {
			s.broker = s.broker || entry.Key == "message.timestamp.type" && entry.MaybeValue() == "LogAppendTime"
		}
	}
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if err != nil {
		s.unknown = err.Error()
	}
	j.stamps[topic] = s
	return s, nil
}

// decodeSafely makes a panic what it is to a worker: a reason to refuse.
func decodeSafely(decode func(chunk.Record) ([]chunk.Event, error), r chunk.Record) (events []chunk.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			events, err = nil, chunk.Permanentf(chunk.ReasonPanicked, "the decoder panicked")
		}
	}()
	return decode(r)
}

// Lies returns the original of a letter if it is still there, and is the same
// record.
func Lies(ctx context.Context, cfg consumer.Config, l Letter, logger *slog.Logger) (r chunk.Record, ok bool, err error) {
	r, ok, err = consumer.ReadOne(ctx, cfg, chunk.Origin(l.Original), logger)
	return r, ok && (l.Time.IsZero() || r.Timestamp.UnixMilli() == l.Time.UnixMilli()), err
}

// newRecord is the original as it was, and the letter that it comes from.
func newRecord(r chunk.Record, letters string, from Place) *kgo.Record {
	out := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	for _, h := range r.Headers {
		if h.Key != consumer.HeaderRedrivenFrom {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	out.Headers = append(out.Headers, kgo.RecordHeader{Key: consumer.HeaderRedrivenFrom, Value: []byte(letters + ":" + from.String())})
	return out
}
