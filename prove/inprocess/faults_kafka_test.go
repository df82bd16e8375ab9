//go:build synctests

package inprocess

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// armed is a fault that waits for requests to meet.
type armed struct {
	name string
	*kfake.FaultHandle
}

// refuse makes the broker refuse n requests of a kind.
func (w *world) refuse(name string, n int, f kfake.Fault) {
	f.Count = n
	w.armed = append(w.armed, armed{name, w.stack.Kafka.Fault(f)})
}

// commitErrors are the refusals of a commit that pass.
func commitErrors() []*kerr.Error {
	return []*kerr.Error{
		kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.RebalanceInProgress,
		kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RequestTimedOut, kerr.UnknownServerError,
	}
}

// kafkaFault is something that happens to the cluster at a moment.
type kafkaFault struct {
	name string
	do   func(w *world, draw uint64)
}

func kafkaFaults() []kafkaFault {
	faults := []kafkaFault{
		{"kafka: coordinators move", func(w *world, _ uint64) {
			w.stack.Kafka.RehashCoordinators()
			w.tally.count("kafka: coordinators move")
		}},
		{"kafka: leaders move", func(w *world, _ uint64) {
			w.stack.Kafka.ShufflePartitionLeaders()
			w.tally.count("kafka: leaders move")
		}},
		{"kafka: connections cut while they fetch", func(w *world, draw uint64) { w.cutFetches(1 + int(draw%5)) }},
		{"kafka: one worker's connections cut", func(w *world, draw uint64) { w.interrupt(draw) }},
		{"kafka: a heartbeat refused", func(w *world, _ uint64) {
			w.refuse("kafka: a heartbeat refused, the session is lost", 1, kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
		}},
		{"kafka: one partition's commit refused", func(w *world, draw uint64) {
			w.refuse("kafka: a commit refused for one partition", 1+int(draw%3), kfake.Fault{
				Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: live, Partitions: []int32{int32(draw % partitions)}, Err: kerr.UnknownServerError,
			})
		}},
	}
	for _, err := range commitErrors() {
		name := "kafka: a commit refused: " + err.Message
		faults = append(faults, kafkaFault{name, func(w *world, draw uint64) {
			w.refuse(name, 1+int(draw%3), kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: err})
		}})
	}
	return faults
}

var errBrokerDown = errors.New("the broker goes down")

// cutFetches breaks the connection under the next n fetches.
func (w *world) cutFetches(n int) {
	w.stack.Kafka.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		if n--; n < 0 {
			w.stack.Kafka.DropControl()
			return nil, nil, false
		}
		w.stack.Kafka.KeepControl()
		w.tally.count("kafka: a connection cut under a fetch")
		return nil, errBrokerDown, true
	})
}

// interrupt cuts the connections of one of the workers to Kafka; it may
// connect again.
func (w *world) interrupt(draw uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.alive) == 0 {
		return
	}
	w.alive[draw%uint64(len(w.alive))].kafka.Interrupt()
	w.tally.count("kafka: all connections of a worker cut")
}
