package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is cfg.Group seen from outside: who is in it, how far it has come, and
// the way to move it. It is safe for concurrent use.
type Group struct {
	cfg    Config
	client *kgo.Client
	adm    *kadm.Client
}

// OpenGroup connects; the group need not exist.
func OpenGroup(ctx context.Context, cfg Config) (*Group, error) {
	client, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Group{cfg: cfg, client: client, adm: kadm.NewClient(client)}, nil
}

// Close ends the connection.
func (g *Group) Close() { g.client.Close() }

// Member is a worker in a group.
type Member struct {
	ID string `json:"id"`
	// InstanceID is empty unless the member is static.
	InstanceID string `json:"instance_id,omitempty"`
	Client     string `json:"client"`
	Host       string `json:"host"`
}

func (m Member) String() string {
	id := m.ID
	if m.InstanceID != "" {
		id = "instance " + m.InstanceID
	}
	return fmt.Sprintf("%s (client %s, host %s)", id, m.Client, m.Host)
}

// Members lists who is in the group, under either protocol; nobody where there
// is no such group.
func (g *Group) Members(ctx context.Context) ([]Member, error) {
	s, err := g.assignment(ctx)
	if err != nil || len(s.Members) == 0 {
		return nil, err
	}
	members := make([]Member, len(s.Members))
	for i := range s.Members {
		members[i] = s.Members[i].Member
	}
	return members, nil
}

// knowsNewerGroups reports whether every broker knows groups of KIP-848
// (Kafka 3.7 or newer).
func (g *Group) knowsNewerGroups(ctx context.Context) (bool, error) {
	brokers, err := g.adm.ApiVersions(ctx)
	if err != nil {
		return false, g.refused("describe", err)
	}
	key := kmsg.NewPtrConsumerGroupDescribeRequest().Key()
	for _, b := range brokers {
		if _, ok := b.KeyMaxVersion(key); b.Err == nil && !ok {
			return false, nil
		}
	}
	return true, nil
}

func newMember(id string, instance *string, client, host string) Member {
	m := Member{ID: id, Client: client, Host: host}
	if instance != nil {
		m.InstanceID = *instance
	}
	return m
}

func (g *Group) refused(what string, err error) error {
	return fmt.Errorf("%s group %s: %w", what, g.cfg.Group, err)
}

// Move is where one partition of a group is, and where it is to go.
type Move struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// From is the group's offset; -1 where it has never committed.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Start and End are what the log holds: the first record's offset, and the
	// one behind the last that may be read.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Again is what is read again after the move: empty where it goes ahead. A
// partition without a commit is read from the target on.
func (m Move) Again() Range {
	r := Range{Topic: m.Topic, Partition: m.Partition, From: m.To, To: min(m.From, m.End)}
	if m.From < 0 && m.To >= 0 {
		r.To = m.End
	}
	r.To = max(r.To, r.From)
	return r
}

// Skipped is what the group will never have read after the move: empty where
// it goes back.
func (m Move) Skipped() Range {
	r := Range{Topic: m.Topic, Partition: m.Partition, From: max(m.From, m.Start), To: m.To}
	r.To = max(r.To, r.From)
	return r
}

// Plan says where the group is and where target would take it: every partition
// of its topics in order, those that stay included.
func (g *Group) Plan(ctx context.Context, target Target) ([]Move, error) {
	ranges, err := listRanges(ctx, g.adm, g.cfg)
	if err != nil {
		return nil, err
	}
	commits, err := g.adm.FetchOffsetsForTopics(ctx, g.cfg.Group, g.cfg.Topics...)
	if errors.Is(err, kerr.GroupIDNotFound) {
		commits, err = nil, nil
	}
	if err != nil {
		return nil, g.refused("read the offsets of", err)
	}
	wanted, err := g.wanted(ctx, target)
	if err != nil {
		return nil, err
	}
	var moves []Move
	var errs []error
	for _, r := range ranges {
		m := Move{Topic: r.Topic, Partition: r.Partition, From: -1, Start: r.From, End: r.To}
		if c, ok := commits.Lookup(r.Topic, r.Partition); ok && c.At >= 0 {
			m.From = c.At
		}
		id := topicPartition{r.Topic, r.Partition}
		to, named := wanted[id]
		delete(wanted, id)
		switch {
		case target.where == toEarliest:
			m.To = m.Start
		case target.where == toLatest:
			m.To = m.End
		case target.where == toTime:
			m.To = min(max(to, m.Start), m.End) // behind the end there may be an open transaction
		case !named:
			m.To = m.From
		case to < m.Start || to > m.End:
			errs = append(errs, fmt.Errorf("topic %s partition %d: offset %d is not in the log, which holds %d to %d", m.Topic, m.Partition, to, m.Start, m.End))
		default:
			m.To = to
		}
		moves = append(moves, m)
	}
	if target.where == toOffsets {
		for _, id := range sortedKeys(wanted) {
			errs = append(errs, fmt.Errorf("topic %s has no partition %d", id.topic, id.partition))
		}
	}
	return moves, errors.Join(errs...)
}

// wanted are the offsets that the target itself names.
func (g *Group) wanted(ctx context.Context, target Target) (map[topicPartition]int64, error) {
	switch target.where {
	case toOffsets:
		return target.named(g.cfg.Topics)
	case toTime:
		at, err := listed(g.adm.ListOffsetsAfterMilli(ctx, target.at.UnixMilli(), g.cfg.Topics...))
		if err != nil {
			return nil, fmt.Errorf("find the offsets of %s: %w", target.at.Format("2006-01-02T15:04:05Z07:00"), err)
		}
		return at, nil
	default:
		return nil, nil
	}
}

// Lag is how many offsets the group has not committed, over all its partitions
// and from the first record that is there.
func (g *Group) Lag(ctx context.Context) (int64, error) {
	moves, err := g.Plan(ctx, Target{where: toLatest})
	if err != nil {
		return 0, err
	}
	var lag int64
	for _, m := range moves {
		lag += max(0, m.End-max(m.From, m.Start))
	}
	return lag, nil
}

// Delete removes the group with its offsets; nil if there is none. Kafka
// refuses it while the group has members.
func (g *Group) Delete(ctx context.Context) error {
	answers, err := g.adm.DeleteGroups(ctx, g.cfg.Group)
	if err == nil {
		err = answers[g.cfg.Group].Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return g.refused("delete", err)
	}
	return nil
}

// Moved is the outcome of one partition's move.
type Moved struct {
	Move
	// Code is the broker's error, such as UNKNOWN_MEMBER_ID; empty when it has
	// the new offset.
	Code string `json:"error,omitempty"`
}

// Commit moves the group, and returns what became of each partition. The error
// tells that some were refused, or that nothing is known. Those that stay are
// not committed again, and are not in the result.
//
// The deaths that a commit counts (see quarantine.go) are of the records at
// its offset: a partition that moves leaves them behind.
func (g *Group) Commit(ctx context.Context, moves []Move) ([]Moved, error) {
	offsets := kadm.Offsets{}
	var out []Moved
	for _, m := range moves {
		if m.To == m.From {
			continue
		}
		offsets.Add(kadm.Offset{Topic: m.Topic, Partition: m.Partition, At: m.To, LeaderEpoch: -1})
		out = append(out, Moved{Move: m})
	}
	if len(out) == 0 {
		return nil, nil
	}
	// Its error is of the whole request; those of partitions are in the answer.
	answers, err := g.adm.CommitOffsets(ctx, g.cfg.Group, offsets)
	if err != nil {
		return nil, g.refused("move", err)
	}
	refusals := 0
	var last error
	for i := range out {
		a, ok := answers.Lookup(out[i].Topic, out[i].Partition)
		switch {
		case !ok:
			out[i].Code, last = "NO_ANSWER", errors.New("the broker's answer does not name the partition")
		case a.Err != nil:
			out[i].Code, last = code(a.Err), a.Err
		default:
			continue
		}
		refusals++
	}
	if refusals == 0 {
		return out, nil
	}
	if errors.Is(last, kerr.UnknownMemberID) || errors.Is(last, kerr.NonEmptyGroup) || errors.Is(last, kerr.RebalanceInProgress) {
		last = fmt.Errorf("%w: a worker has joined in the meantime; stop the workers of the group first", last)
	}
	return out, g.refused(fmt.Sprintf("move %d of %d partitions of", refusals, len(out)), last)
}

// code is the protocol's name of an error.
func code(err error) string {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Message
	}
	return err.Error()
}
