package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	commitTimeout  = 15 * time.Second
	commitPauseMin = 250 * time.Millisecond
	commitPauseMax = 10 * time.Second
)

// commitLoop commits whenever something is committable. While a commit is
// under way, acknowledgements pile up and the next one covers them all.
func (s *Source) commitLoop() {
	pause := commitPauseMin
	for s.awaitCommittable() {
		ctx, cancel := context.WithTimeout(s.hard, commitTimeout)
		err := s.commit(ctx, s.client)
		cancel()
		switch {
		case err == nil:
			pause = commitPauseMin
			continue
		case hopeless(err):
			s.fail(err)
			return
		}
		s.logger.Warn("commit refused; trying again", "error", err, "pause", pause)
		s.rest(pause)
		pause = min(2*pause, commitPauseMax)
	}
}

// rest waits for d, or until the member has joined the group again, or the
// source closes.
func (s *Source) rest(d time.Duration) {
	w := wakeup{at: time.Now().Add(d)}
	s.mu.Lock()
	sessions := s.sessions
	s.mu.Unlock()
	for {
		s.mu.Lock()
		w.changed = s.changed
		joined := s.sessions != sessions
		s.mu.Unlock()
		if joined || !time.Now().Before(w.at) || w.until(s.intake) != nil {
			return
		}
	}
}

// awaitCommittable returns false when the source closes.
func (s *Source) awaitCommittable() bool {
	for {
		s.mu.Lock()
		ready := false
		for _, p := range s.parts {
			ready = ready || p.committable()
		}
		w := wakeup{changed: s.changed}
		s.mu.Unlock()
		if s.intake.Err() != nil {
			return false
		}
		if ready {
			return true
		}
		if w.until(s.intake) != nil {
			return false
		}
	}
}

// commitNow commits until nothing is committable, or until most of ctx's time
// has gone: the rest is for leaving the group.
func (s *Source) commitNow(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*2/3)
		defer cancel()
	}
	var refusal error // what the broker said last tells more than that time ran out
	for {
		err := s.commit(ctx, s.client)
		if err == nil {
			return nil
		}
		if refusal == nil || ctx.Err() == nil {
			refusal = err
		}
		var e *commitError
		if errors.As(err, &e) && e.class != commitRetried {
			return err
		}
		pause := wakeup{at: time.Now().Add(commitPauseMin)}
		if pause.until(ctx) != nil {
			return refusal
		}
	}
}

// commit tells the broker what is done and waits for its answer. It covers
// live assignments only, and no rebalance callback returns while it runs.
// Partitions that are refused stay committable.
func (s *Source) commit(ctx context.Context, cl *kgo.Client) error {
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the commit before: %w", ctx.Err())
	}
	parts, offsets, notes := s.committable()
	if len(parts) == 0 {
		return nil
	}
	ctx = kgo.PreCommitFnContext(ctx, doubts(notes))
	var refused error
	// Sync does not mean slow here: it is the variant that a rebalance cannot
	// cancel half way.
	cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			refused = &commitError{class: commitRetried, err: err}
			return
		}
		refused = s.committed(parts, offsets, notes, codes(req, resp))
	})
	if refused == nil {
		s.metrics.committed(commitOK)
		return nil
	}
	var e *commitError
	if errors.As(refused, &e) {
		s.metrics.committed(e.class)
	}
	return fmt.Errorf("commit %d partitions of group %s: %w", len(parts), s.cfg.Group, refused)
}

func (s *Source) committable() ([]*partition, map[string]map[int32]kgo.EpochOffset, map[topicPartition]doubt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []*partition
	offsets := map[string]map[int32]kgo.EpochOffset{}
	notes := map[topicPartition]doubt{}
	for id, p := range s.parts {
		if !p.committable() {
			continue
		}
		parts = append(parts, p)
		if offsets[id.topic] == nil {
			offsets[id.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[id.topic][id.partition] = p.done
		notes[id] = p.note
	}
	return parts, offsets, notes
}

// codes reads the error code of each partition: a commit can be refused for
// some, or for all, without the request as a whole failing. From version 10 on
// the answer names topics by id only.
func codes(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) map[topicPartition]int16 {
	names := map[[16]byte]string{}
	for _, t := range req.Topics {
		names[t.TopicID] = t.Topic
	}
	codes := map[topicPartition]int16{}
	for _, t := range resp.Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			codes[topicPartition{name, p.Partition}] = p.ErrorCode
		}
	}
	return codes
}

// committed notes which partitions the broker took and returns the gravest
// refusal.
func (s *Source) committed(parts []*partition, offsets map[string]map[int32]kgo.EpochOffset,
	notes map[topicPartition]doubt, codes map[topicPartition]int16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var worst *commitError
	for _, p := range parts {
		code, answered := codes[p.topicPartition]
		err := kerr.ErrorForCode(code)
		switch {
		case !answered:
			err = errors.New("the broker did not answer for it")
		case err == nil:
			p.committed, p.noted = offsets[p.topic][p.partition], notes[p.topicPartition]
			if p.lastWords != nil && p.committed.Offset >= p.lastOffset && s.err == nil {
				s.err = p.lastWords
				s.notify()
			}
			continue
		}
		if errors.Is(err, kerr.OffsetMetadataTooLarge) {
			err = fmt.Errorf("raise the broker's offset.metadata.max.bytes to 100, or set quarantine_after to 0: %w", err)
		}
		e := &commitError{class: classify(err), err: fmt.Errorf("topic %s partition %d: %w", p.topic, p.partition, err)}
		if worst == nil || e.class > worst.class {
			worst = e
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// commitClass is what became of a commit, the gravest last.
type commitClass int

const (
	commitOK commitClass = iota
	// commitRetried: the broker could not take it now.
	commitRetried
	// commitFenced: the group has moved on without this member. The client
	// joins again; partitions that it lost are no longer committed.
	commitFenced
	// commitFailed: it will never be taken.
	commitFailed
)

var commitClasses = [...]string{commitOK: "ok", commitRetried: "retried", commitFenced: "fenced", commitFailed: "failed"}

type commitError struct {
	class commitClass
	err   error
}

// hopeless reports whether a commit failed for good.
func hopeless(err error) bool {
	var e *commitError
	return errors.As(err, &e) && e.class == commitFailed
}

func (e *commitError) Error() string { return e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

func classify(err error) commitClass {
	switch {
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID),
		errors.Is(err, kerr.StaleMemberEpoch), errors.Is(err, kerr.FencedMemberEpoch):
		return commitFenced
	case errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.InvalidGroupID),
		errors.Is(err, kerr.OffsetMetadataTooLarge), errors.Is(err, kerr.InvalidCommitOffsetSize):
		return commitFailed
	default:
		// An unknown topic is among these: a new one takes a while to be known
		// everywhere, and one that was made anew fails in the fetch.
		return commitRetried
	}
}
