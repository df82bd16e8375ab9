package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// GroupState is a group at one moment: who is in it, and how far it has come.
type GroupState struct {
	// State is Kafka's own word: Stable, PreparingRebalance, Empty, Dead (there is
	// no such group), ….
	State   string     `json:"state"`
	Members []Assigned `json:"members"`
	// Partitions are all of the topics', in order; Lag is the sum of theirs.
	Partitions []PartitionState `json:"partitions"`
	Lag        int64            `json:"lag"`
}

// Assigned is a member with what it works on.
type Assigned struct {
	Member
	Partitions []TopicPartition `json:"partitions"`
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// PartitionState is how far the group has come in a partition.
type PartitionState struct {
	TopicPartition
	// Committed is -1 where the group has never committed.
	Committed int64 `json:"committed"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
	// Lag is how many offsets are not committed, of those that are there.
	Lag int64 `json:"lag"`
	// Member is the index in GroupState.Members of who works on it, -1 for
	// nobody.
	Member int `json:"member"`
}

// State describes the group. Members and offsets are asked for one after the
// other, so that a rebalance in between may show.
func (g *Group) State(ctx context.Context) (GroupState, error) {
	s, err := g.assignment(ctx)
	if err != nil {
		return s, err
	}
	owner := map[TopicPartition]int{}
	for i, m := range s.Members {
		for _, p := range m.Partitions {
			owner[p] = i
		}
	}
	moves, err := g.Plan(ctx, Target{where: toLatest})
	if err != nil {
		return s, err
	}
	s.Partitions = make([]PartitionState, 0, len(moves))
	for _, m := range moves {
		p := PartitionState{TopicPartition: TopicPartition{m.Topic, m.Partition}, Committed: m.From, Start: m.Start, End: m.End, Member: -1}
		p.Lag = max(0, m.End-max(m.From, m.Start))
		if i, ok := owner[p.TopicPartition]; ok {
			p.Member = i
		}
		s.Lag += p.Lag
		s.Partitions = append(s.Partitions, p)
	}
	return s, nil
}

// assignment asks under either protocol.
func (g *Group) assignment(ctx context.Context) (GroupState, error) {
	s := GroupState{State: "Dead", Members: []Assigned{}}
	classic, err := g.adm.DescribeGroups(ctx, g.cfg.Group)
	if err != nil {
		return s, g.refused("describe", err)
	}
	d, err := classic.On(g.cfg.Group, nil)
	switch {
	case err == nil && d.Err == nil && len(d.Members) > 0:
		s.State = d.State
		for _, m := range d.Members {
			a := Assigned{Member: newMember(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost)}
			if plan, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range plan.Topics {
					for _, p := range t.Partitions {
						a.Partitions = append(a.Partitions, TopicPartition{t.Topic, p})
					}
				}
			}
			s.Members = append(s.Members, a.sorted())
		}
		return s, nil
	case d.Err != nil && !errors.Is(d.Err, kerr.GroupIDNotFound):
		return s, g.refused("describe", d.Err)
	case err == nil && d.Err == nil:
		s.State = d.State
	}
	// A group of the newer protocol (KIP-848) is not known to that request.
	known, err := g.knowsNewerGroups(ctx)
	if err != nil || !known {
		return s, err
	}
	newer, err := g.adm.DescribeConsumerGroups(ctx, g.cfg.Group)
	if err != nil {
		return s, g.refused("describe", err)
	}
	n, ok := newer[g.cfg.Group]
	switch {
	case !ok || errors.Is(n.Err, kerr.GroupIDNotFound):
		return s, nil
	case n.Err != nil:
		return s, g.refused("describe", n.Err)
	}
	s.State = n.State
	for _, m := range n.Members {
		a := Assigned{Member: newMember(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost)}
		m.Assignment.Each(func(t string, p int32) { a.Partitions = append(a.Partitions, TopicPartition{t, p}) })
		s.Members = append(s.Members, a.sorted())
	}
	return s, nil
}

func (a Assigned) sorted() Assigned {
	slices.SortFunc(a.Partitions, func(x, y TopicPartition) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return a
}
