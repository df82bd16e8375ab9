package consumer

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the broker refuses for now is offered again, until it is taken.
func TestRefusedCommitsAreRetried(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]*kerr.Error{
		"coordinator moved":   kerr.NotCoordinator,
		"coordinator loading": kerr.CoordinatorLoadInProgress,
		"coordinator gone":    kerr.CoordinatorNotAvailable,
		"rebalance":           kerr.RebalanceInProgress,
		"timeout":             kerr.RequestTimedOut,
		"unknown error":       kerr.UnknownServerError,
		"generation gone":     kerr.IllegalGeneration,
		"member gone":         kerr.UnknownMemberID,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.produce(t, 0, "a", "b")
			fault := w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: err, Count: 1})
			s := w.open(t, w.config())
			batches, _ := gather(t, s, 2)
			for _, b := range batches {
				b.Ack()
			}
			w.waitCommitted(t, 0, 2)
			if fault.Hits() == 0 {
				t.Error("no commit was refused: the test is void")
			}
		})
	}
}

func TestCommitSurvivesABrokenConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a")
	broke := make(chan struct{}, 1)
	w.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		broke <- struct{}{}
		return nil, errors.New("the broker goes down"), true
	})
	s := w.open(t, w.config())
	next(t, s).Ack()
	<-broke
	w.waitCommitted(t, 0, 1)
}

// The answer as a whole is no error when one partition is refused: that one
// stays to be committed, and the other is not committed again.
func TestRefusalOfOnePartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.produce(t, 0, "a")
	w.produce(t, 1, "b")
	fault := w.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Partitions: []int32{1}, Err: kerr.UnknownServerError, Count: -1,
	})
	reg := prometheus.NewRegistry()
	s := open(t, w.config(), reg)
	batches, _ := gather(t, s, 2)
	for _, b := range batches {
		b.Ack()
	}
	w.waitCommitted(t, 0, 1)
	eventually(t, "the refusal is counted", func() bool { return samples(t, reg, "chunktide_commits_total")["retried"] > 0 })
	if at := w.committed(t, 1); at != -1 {
		t.Fatalf("the refused partition is committed at %d", at)
	}
	// The broker may have the other partition's commit before we have its answer.
	eventually(t, "only the refused partition is to be committed", func() bool {
		parts, _, _ := s.committable()
		return len(parts) == 1 && parts[0].partition == 1
	})
	fault.Remove()
	w.waitCommitted(t, 1, 1)
}

func TestHopelessCommitIsFatal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a")
	w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: 1})
	s := w.open(t, w.config())
	if err := nextErr(t, s); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("got %v", err)
	}
}

// While a commit is under way acknowledgements pile up; the next one covers
// all of them.
func TestCommitsCoalesce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for range 20 {
		w.produce(t, 0, "a")
	}
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	var offsets []int64
	w.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.KeepControl()
		offsets = append(offsets, r.(*kmsg.OffsetCommitRequest).Topics[0].Partitions[0].Offset)
		if len(offsets) == 1 {
			arrived <- struct{}{}
			w.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	cfg := w.config()
	cfg.Batch.Events = 1
	cfg.QuarantineAfter = 0 // so that there is no commit before the first batch
	s := w.open(t, cfg)
	batches, _ := gather(t, s, 20)
	batches[0].Ack()
	<-arrived
	for _, b := range batches[1:] {
		b.Ack()
	}
	close(release)
	w.waitCommitted(t, 0, 20)
	shut(t, s)
	w.Close() // orders the read of offsets after the last control
	if len(offsets) != 2 || offsets[0] != 1 || offsets[1] != 20 {
		t.Errorf("commits at %v, want 1 and 20", offsets)
	}
}

// Close commits what the loop has not, and says so when it cannot.
func TestCloseTellsWhenItCouldNotCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a")
	w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.UnknownServerError, Count: -1})
	s, err := New(ctx(t), w.config(), decode, words, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	next(t, s).Ack()
	c, cancel := timeout(t, time.Second)
	defer cancel()
	if err := s.Close(c); !errors.Is(err, kerr.UnknownServerError) {
		t.Errorf("Close returned %v", err)
	}
	members, err := w.adm.DescribeGroups(ctx(t), group)
	if err != nil || len(members[group].Members) != 0 {
		t.Errorf("the group was not left: %v, %v", members[group].Members, err)
	}
}

func TestSessionErrorsTellWhatToDo(t *testing.T) {
	t.Parallel()
	s := bare(nil, Batch{})
	for err, want := range map[*kerr.Error]bool{
		kerr.GroupAuthorizationFailed:  true,
		kerr.FencedInstanceID:          true,
		kerr.InconsistentGroupProtocol: true,
		kerr.InvalidSessionTimeout:     true,
		kerr.GroupMaxSizeReached:       true,
		kerr.UnknownMemberID:           false,
		kerr.CoordinatorNotAvailable:   false,
	} {
		if got := s.sessionError(err); (got != nil) != want || (want && !errors.Is(got, err)) {
			t.Errorf("%v is %v", err, got)
		}
	}
}
