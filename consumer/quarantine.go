package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
)

// A record can kill the worker that handles it: by a fault in a native
// library, or by the memory it takes. Its partition would then kill one worker
// after the other. So the group's offsets remember deaths, where every owner
// finds them: in the metadata of the commit. It names the commit's offset too:
// a reset of the group may keep the metadata, which then tells of other records.
//
// Before an owner hands out its first batch of a partition it commits the
// offset where it begins, with one death more than it found: as if it had died
// already. Progress commits without that mark, an owner that lets go in order
// takes it back, and only one that dies leaves it.
//
// After two deaths the records that may have been in flight are handed out one
// at a time, with nothing else in flight and each with a mark of its own, so
// that the next deaths point at one record. When enough owners in a row have
// died of it, the next one sends it to the dead letters, without looking at
// it, and goes on behind it.

// suspicious is how many owners in a row must have died without getting
// anywhere before records are handed out one at a time. One death in an
// unlucky moment should cost nothing.
const suspicious = 2

// markTimeout bounds the commit before a batch that needs one. A first mark
// that does not get through only delays a quarantine; holding back the batch
// would delay everything.
const markTimeout = 5 * time.Second

// doubt is what a commit says of the records behind its offset.
type doubt struct {
	// deaths is how many owners in a row died there.
	deaths int
	// until is the end of the range to be read one record at a time, 0 for
	// none. In the range, deaths are of the one record at the offset.
	until int64
}

const doubtFormat = "chunktide deaths=%d until=%d at=%d"

// encode is the metadata of a commit of offset, empty where there is no doubt.
func (d doubt) encode(offset int64) string {
	if d == (doubt{}) {
		return ""
	}
	return fmt.Sprintf(doubtFormat, d.deaths, d.until, offset)
}

// parseDoubt reads the metadata of a commit of offset; what others wrote there
// is no doubt, and neither is what was written for another offset.
func parseDoubt(metadata string, offset int64) doubt {
	var d doubt
	var at int64
	if _, err := fmt.Sscanf(metadata, doubtFormat, &d.deaths, &d.until, &at); err != nil || d.deaths < 0 || d.until < 0 || d.encode(offset) != metadata {
		return doubt{}
	}
	return d
}

// doubts gives each of a commit's partitions its metadata. It runs while the
// request is made.
func doubts(notes map[topicPartition]doubt) func(*kmsg.OffsetCommitRequest) error {
	return func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				if m := notes[topicPartition{t.Topic, p.Partition}].encode(p.Offset); m != "" {
					p.Metadata = &m
				}
			}
		}
		return nil
	}
}

// inherited learns what the owners before left in the group's offsets.
func (s *Source) inherited(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, o := range t.Partitions {
				p := s.parts[topicPartition{t.Topic, o.Partition}]
				if p != nil && o.Metadata != nil && s.cfg.QuarantineAfter > 0 {
					p.found = parseDoubt(*o.Metadata, o.Offset)
					p.note, p.noted = p.found, p.found
				}
			}
		}
	}
	return nil
}

// suspect turns two deaths without progress into a range to be careful in. It
// is called when the first records are read: offset is the first of them, and
// what comes after end was not there when the owner before died, or is not for
// this source.
func (p *partition) suspect(offset, end int64, window int) {
	switch {
	case p.found.until > 0 && offset != p.first:
		p.found.deaths = 0 // those are of a record that the log's compaction has removed since
	case p.found.until == 0 && p.found.deaths >= suspicious:
		p.found = doubt{until: offset + int64(window)}
	}
	p.found.until = min(p.found.until, end)
}

// careful reports whether records of the range in doubt wait or are in flight.
func (p *partition) careful() bool {
	return max(p.first, p.done.Offset) < min(p.found.until, p.next)
}

// condemned reports whether the record at offset, the first of this
// assignment, has killed enough owners.
func (p *partition) condemned(offset int64, after int) bool {
	return after > 0 && offset < p.found.until && p.found.deaths >= after
}

// mark counts a death in advance if the partition has yet to show that it can
// be got over: at first, and at every record of the range in doubt. It says
// whether there is something to commit.
func (p *partition) mark(first *kgo.Record) bool {
	inDoubt := first.Offset < p.found.until
	if p.proven && !inDoubt {
		return false
	}
	p.note = doubt{deaths: 1}
	if !p.proven {
		p.note.deaths += p.found.deaths
	}
	if inDoubt {
		p.note.until = p.found.until
	}
	// In doubt nothing else is in flight, so all before it is done, and the
	// commit can name the very record.
	if p.done.Offset < 0 || inDoubt {
		p.done = kgo.EpochOffset{Epoch: first.LeaderEpoch, Offset: first.Offset}
	}
	return true
}

// progress clears the mark: whoever gets on has not died.
func (p *partition) progress() {
	p.proven = true
	p.note = doubt{}
	if p.done.Offset < p.found.until {
		p.note.until = p.found.until
	}
}

// outlive forgets the deaths at done: the records that may have killed are no
// longer in the log.
func (p *partition) outlive() {
	p.found.deaths = 0
	if p.found.until <= p.done.Offset {
		p.found.until = 0
	}
	p.note = p.found
}

// forgive takes the mark back when a partition is let go in order.
func (p *partition) forgive() {
	switch {
	case p.note.deaths == 0:
	case p.proven:
		p.note.deaths = 0
	default:
		p.note = p.found
	}
}

// Died says that this member ends because of what is in flight, such as a text
// that an encoder never returns from. Call it before Close: the deaths that
// were counted in advance then stand, as if the process had been killed.
func (s *Source) Died() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.died = true
}

// forgiveAll takes the marks of parts back, unless this member died.
func (s *Source) forgiveAll(parts []*partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.died {
		return
	}
	for _, p := range parts {
		p.forgive()
	}
}

// alone reports whether records must be handed out one at a time: while one
// partition is in doubt, nothing else may be in flight beside its record, or
// it would be blamed for the other's doing.
func (s *Source) alone() bool {
	for _, p := range s.parts {
		if p.careful() {
			return true
		}
	}
	return false
}

// uncleared reports whether a record in doubt has gone well and the group's
// offsets still blame it. Whatever is handed out then must not kill before they
// do not, or it would be the other's fault.
func (s *Source) uncleared() bool {
	for _, p := range s.parts {
		if p.noted.until > 0 && p.noted.deaths > 0 && p.note.deaths == 0 {
			return true
		}
	}
	return false
}

// commitMarks makes the marks of a batch durable before it is handed out. A
// record in doubt waits until they are, and with them the progress of the one
// before it, which would otherwise be blamed for its doing. With an error the
// batch is not to be handed out.
func (s *Source) commitMarks(ctx context.Context, inDoubt bool) error {
	for {
		limited, cancel := context.WithTimeout(ctx, markTimeout)
		err := s.commit(limited, s.client)
		cancel()
		switch {
		case err == nil, ctx.Err() != nil:
			return ctx.Err()
		case hopeless(err):
			s.fail(err)
			return err
		}
		s.logger.Warn("could not note that a batch begins", "waiting", inDoubt, "error", err)
		switch {
		case !inDoubt:
			return nil
		case s.intake.Err() != nil:
			return ErrClosed
		}
		s.rest(commitPauseMin)
	}
}

// quarantined is why a record is not even looked at.
func quarantined(deaths int) error {
	return chunk.Permanentf(chunk.ReasonKilledWorkers,
		"%d workers in a row died while this record alone was in flight: look for their last words "+
			"(a fault of a native library, or more memory than there was), and send the record again when the cause is mended", deaths)
}
