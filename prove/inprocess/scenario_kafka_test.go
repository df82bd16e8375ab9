//go:build synctests

package inprocess

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/prove/history"
)

// kafkaScenarios are about what the brokers answer.
func kafkaScenarios() []scenario {
	var out []scenario
	for _, err := range commitErrors() {
		name := "kafka: the last commits refused: " + err.Message
		out = append(out, commitScenario(name, func(w *world, _ *kmsg.OffsetCommitRequest) *kerr.Error { return err }))
	}
	out = append(out,
		commitScenario("kafka: the coordinator moves under the last commits", func(w *world, _ *kmsg.OffsetCommitRequest) *kerr.Error {
			w.stack.Kafka.SleepControl(w.stack.Kafka.RehashCoordinators)
			return kerr.NotCoordinator
		}),
		partitionScenario(), letterScenario(),
		fetchScenario("kafka: leaders move", func(w *world) { kafkaFaults()[1].do(w, 0) }),
		fetchScenario("kafka: a connection cut under a fetch", func(w *world) { w.cutFetches(3) }),
		fetchScenario("kafka: all connections of a worker cut", func(w *world) { w.interrupt(0) }),
	)
	return out
}

// atEnd reports whether a commit reaches the end of a partition's log.
func (w *world) atEnd(p *kmsg.OffsetCommitRequestTopicPartition) bool {
	return p.Offset == int64(len(w.logs[live].offsets[p.Partition]))
}

// commitScenario: the commits that reach the end of a partition meet an error,
// after which nothing else would carry them. The control answers them without
// an error, and does not keep them either: so it would be for a worker that
// does not read the codes.
func commitScenario(name string, fail func(*world, *kmsg.OffsetCommitRequest) *kerr.Error) scenario {
	const refusals = 3
	pretend := false
	return scenario{
		name: name, proves: "reading the commit's error codes", breaks: []string{stuck}, met: name,
		remove: func(*world) { pretend = true },
		run: func(w *world) {
			left := refusals
			w.stack.Kafka.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
				w.stack.Kafka.KeepControl()
				req := r.(*kmsg.OffsetCommitRequest)
				end := false
				for i := range req.Topics {
					for j := range req.Topics[i].Partitions {
						end = end || w.atEnd(&req.Topics[i].Partitions[j])
					}
				}
				if !end || left <= 0 {
					return nil, nil, false
				}
				left--
				w.tally.count(name)
				code := int16(0)
				if !pretend {
					code = fail(w, req).Code
				}
				return answerCommit(req, code), nil, true
			})
			w.start("a", workers)
			w.all()
		},
	}
}

func answerCommit(req *kmsg.OffsetCommitRequest, code int16) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, t := range req.Topics {
		to := kmsg.NewOffsetCommitResponseTopic()
		to.Topic, to.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetCommitResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, code
			to.Partitions = append(to.Partitions, part)
		}
		resp.Topics = append(resp.Topics, to)
	}
	return resp
}

// partitionScenario: one partition's last commits are refused while the others
// are taken in the same request. The control takes the partition's too, at an
// offset that nobody asked for.
func partitionScenario() scenario {
	const name = "kafka: the last commits refused for one partition"
	pretend := false
	return scenario{
		name: name, proves: "reading each partition's error code", breaks: []string{stuck}, met: name,
		remove: func(*world) { pretend = true },
		run: func(w *world) {
			left := 3
			w.stack.Kafka.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
				w.stack.Kafka.KeepControl()
				p := w.endOf(0, r.(*kmsg.OffsetCommitRequest))
				if p == nil || left <= 0 {
					return nil, nil, false
				}
				left--
				w.tally.count(name)
				if pretend {
					p.Offset = 0
				} else {
					w.stack.Kafka.Fault(kfake.Fault{
						Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: live, Partitions: []int32{0}, Err: kerr.UnknownServerError,
					})
				}
				return nil, nil, false
			})
			w.start("a", workers)
			w.all()
		},
	}
}

// endOf is the part of a commit that reaches the end of a partition's log.
func (w *world) endOf(partition int32, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitRequestTopicPartition {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			if p := &req.Topics[i].Partitions[j]; p.Partition == partition && w.atEnd(p) {
				return p
			}
		}
	}
	return nil
}

// letterScenario: the broker refuses dead letters. The control drops them and
// says that it has them, as it would be for a worker that does not wait.
func letterScenario() scenario {
	const name = "kafka: dead letters refused"
	pretend := false
	return scenario{
		name: name, proves: "waiting for the dead letter before its record counts as done", breaks: []string{letterMissing}, met: name,
		shape:  func(s *history.Shape) { s.Malformed = .1 },
		remove: func(*world) { pretend = true },
		run: func(w *world) {
			left := 3
			w.stack.Kafka.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				w.stack.Kafka.KeepControl()
				req := r.(*kmsg.ProduceRequest)
				topic := req.Topics[0].Topic
				if topic == "" {
					topic = w.audit.names[req.Topics[0].TopicID]
				}
				if topic != letters || left <= 0 {
					return nil, nil, false
				}
				left--
				w.tally.count(name)
				code := kerr.NotEnoughReplicas.Code
				if pretend {
					code = 0
				}
				return answerProduce(req, code), nil, true
			})
			w.start("a", workers)
			w.all()
		},
	}
}

func answerProduce(req *kmsg.ProduceRequest, code int16) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		to := kmsg.NewProduceResponseTopic()
		to.Topic, to.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, code
			to.Partitions = append(to.Partitions, part)
		}
		resp.Topics = append(resp.Topics, to)
	}
	return resp
}

// fetchScenario: something happens to the way of the records again and again.
// The control does not read again what it was about to get.
func fetchScenario(name string, fault func(*world)) scenario {
	skip := &atomic.Bool{}
	return scenario{
		name: name, proves: "reading on at the very record", breaks: covering(), met: name,
		remove: func(w *world) { w.wrap = skipBatch(skip) },
		run: func(w *world) {
			w.start("a", workers)
			time.Sleep(10 * time.Second) // it has joined
			w.portions(4, func(int) {
				fault(w)
				skip.Store(true)
				time.Sleep(3 * time.Second)
			})
		},
	}
}
