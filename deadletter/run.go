package deadletter

import (
	"cmp"
	"context"
	"encoding/json"
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

// Options say which letters, and what to do with them.
type Options struct {
	Kafka consumer.Config
	// Decode is what the workers make of a record.
	Decode func(chunk.Record) ([]chunk.Event, error)
	Filter Filter
	// Send sends what may be sent; without it nothing changes.
	Send   bool
	Logger *slog.Logger

	// pause, in tests, comes between what a transaction holds and its end.
	pause func() error
	// settle replaces the constant of that name, and forgetful takes the markers
	// out, to see that they are needed.
	settle    time.Duration
	forgetful bool
}

// TransactionalID is the one that redrives of a dead-letter topic share, so
// that a later one ends an earlier one. Whoever redrives needs the right to
// write and to describe it.
func TransactionalID(cfg consumer.Config) string { return "chunktide-redrive-" + cfg.DeadLetters() }

const (
	// A transaction that is open holds up the workers of its partitions, since
	// they read what is committed. So it is small, and the broker ends it soon
	// after whoever opened it has died.
	transactionLetters = 100
	transactionBytes   = 4 << 20
	transactionTimeout = 30 * time.Second
	// settle is how long another's open transaction is waited for.
	settle = 15 * time.Second
)

// Run visits the letters that the filter chooses, in order, with what becomes
// of each. With Send it returns when everything that could be sent is durable.
// On an error those that were sent for certain were visited; what became of the
// others the next run knows.
func Run(ctx context.Context, o Options, visit func(Verdict) error) error {
	options, err := consumer.ClientOptions(o.Kafka)
	if err != nil {
		return err
	}
	if o.Send {
		options = append(options, kgo.TransactionalID(TransactionalID(o.Kafka)), kgo.TransactionTimeout(transactionTimeout),
			kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
			// Each record goes in a batch of its own: the topic it comes from took it so.
			kgo.ProducerBatchMaxBytes(min(o.Kafka.ResponseMaxBytes, 96<<20)))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("set up the Kafka client: %w", err)
	}
	defer client.Close()
	r := &run{Options: o, client: client, sent: map[identity]*Redriven{}}
	r.judge = &judge{
		cfg: o.Kafka, decode: o.Decode, adm: kadm.NewClient(client), logger: o.Logger, partitions: map[string]int{}, stamps: map[string]stamp{},
		named: func(l *Letter) bool {
			return slices.Contains(o.Filter.Reasons, l.Reason) || o.Filter.names(l.Place)
		},
	}
	if o.Send {
		if err := r.takeOver(ctx); err != nil {
			return err
		}
	}
	return r.run(ctx, visit)
}

type run struct {
	Options
	client *kgo.Client
	judge  *judge
	// sent are the originals that this run has sent, or would.
	sent map[identity]*Redriven
}

// takeOver ends every other redrive of the topic, and waits until what it left
// is settled: from here on the markers that are there are all that matter.
func (r *run) takeOver(ctx context.Context) error {
	if _, _, err := r.client.ProducerID(ctx); err != nil {
		return r.refused("take over the redrives of "+r.Kafka.DeadLetters(), err)
	}
	limited, cancel := context.WithTimeout(ctx, cmp.Or(r.settle, settle))
	defer cancel()
	for {
		open, err := r.open(limited, r.Kafka.DeadLetters())
		if err == nil && !open {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if limited.Err() != nil {
			return fmt.Errorf("a transaction of somebody else is open on topic %s, and may hold letters or markers: try again when it has ended (kafka-transactions.sh list): %w",
				r.Kafka.DeadLetters(), errors.Join(err, limited.Err()))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-limited.Done():
		}
	}
}

// open reports whether anything in the topic waits for the end of a transaction.
func (r *run) open(ctx context.Context, topic string) (bool, error) {
	ends, err := r.judge.adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return false, err
	}
	if errors.Is(ends.Error(), kerr.UnknownTopicOrPartition) {
		return false, nil
	}
	stable, err := r.judge.adm.ListCommittedOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error(), stable.Error()); err != nil {
		return false, err
	}
	open := false
	ends.Each(func(e kadm.ListedOffset) {
		s, ok := stable.Lookup(e.Topic, e.Partition)
		open = open || !ok || s.Offset < e.Offset
	})
	return open, nil
}

// run judges what is chosen, transaction by transaction.
func (r *run) run(ctx context.Context, visit func(Verdict) error) error {
	box, err := Read(ctx, r.Kafka, r.Logger)
	if err != nil {
		return err
	}
	chosen, err := r.Filter.Choose(box)
	if err != nil {
		return err
	}
	if r.forgetful {
		for i := range chosen {
			chosen[i].Redriven = nil
		}
	}
	for part := range slices.Chunk(chosen, transactionLetters) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.part(ctx, part, visit); err != nil {
			return err
		}
	}
	return nil
}

// part reads the letters whole, and sends those that may be sent.
func (r *run) part(ctx context.Context, letters []Letter, visit func(Verdict) error) error {
	verdicts := make([]Verdict, len(letters))
	at := make(map[Place]*Verdict, len(letters))
	places := make([]Place, len(letters))
	for i := range letters {
		verdicts[i].Letter, verdicts[i].Why = letters[i], "it was deleted from the topic of the dead letters meanwhile"
		places[i] = letters[i].Place
		at[places[i]] = &verdicts[i]
	}
	bytes := 0
	var batch []*Verdict
	ranges, err := rangesOf(ctx, r.Kafka)
	if err != nil {
		return fmt.Errorf("read the dead letters: %w", err)
	}
	err = scan(ctx, r.Kafka, ranges, places, func(full chunk.Record) error {
		v := at[Place{full.Partition, full.Offset}]
		if err := r.judge.consider(ctx, v, full); err != nil {
			return fmt.Errorf("letter %s: %w", v.Place, err)
		}
		if !r.Send {
			r.pretend(v)
			return nil
		}
		if v.Send || v.Redriven != nil && !v.marked {
			batch = append(batch, v)
		}
		if v.record != nil {
			bytes += len(v.record.Key) + len(v.record.Value)
		}
		if bytes < transactionBytes {
			return nil
		}
		ready := batch
		bytes, batch = 0, nil
		return r.send(ctx, ready)
	}, r.Logger)
	if err == nil && len(batch) > 0 {
		err = r.send(ctx, batch)
	}
	for _, v := range verdicts {
		if err == nil || v.Sent {
			err = errors.Join(err, visit(v))
		}
	}
	return err
}

// pretend is send for a dry run.
func (r *run) pretend(v *Verdict) {
	if !v.Send {
		return
	}
	if twin := r.sent[v.identity()]; twin != nil {
		v.twinOf(twin)
		return
	}
	r.sent[v.identity()] = &Redriven{Letter: v.Place}
}

// twinOf says that another letter stands for this one.
func (v *Verdict) twinOf(twin *Redriven) {
	v.Send, v.Twin = false, true
	v.Why = fmt.Sprintf("letter %s has the same original, and is sent", twin.Letter)
}

// send is one transaction. Once begun it is not torn by ctx.
func (r *run) send(ctx context.Context, batch []*Verdict) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionTimeout)
	defer cancel()
	if err := r.client.BeginTransaction(); err != nil {
		return r.refused("begin a transaction", err)
	}
	err := r.fill(ctx, batch)
	if err == nil && r.pause != nil {
		err = r.pause()
	}
	if err != nil {
		// What the abort itself meets changes nothing: the broker ends it.
		_ = r.client.AbortBufferedRecords(ctx)
		_ = r.client.EndTransaction(ctx, kgo.TryAbort)
		return r.refused(fmt.Sprintf("send %d letters (none of these was)", len(batch)), err)
	}
	if err := r.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return r.refused(fmt.Sprintf("send %d letters: whether they were is not known; run it again, it sends none twice", len(batch)), err)
	}
	for _, v := range batch {
		if v.Send {
			v.Sent, v.Redriven = true, r.sent[v.identity()]
		}
	}
	return nil
}

// fill writes what the transaction holds: the records, and then, since they
// say where those lie, the markers.
func (r *run) fill(ctx context.Context, batch []*Verdict) error {
	now := time.Now().UTC()
	var markers []*kgo.Record
	for _, v := range batch {
		to := v.Redriven
		if v.Send {
			if twin := r.sent[v.identity()]; twin != nil {
				v.twinOf(twin)
				to = twin
			} else {
				if err := r.client.ProduceSync(ctx, v.record).FirstErr(); err != nil {
					return fmt.Errorf("letter %s to topic %s: %w", v.Place, v.record.Topic, err)
				}
				to = &Redriven{At: now, To: Original{v.record.Topic, v.record.Partition, v.record.Offset}, Letter: v.Place}
				r.sent[v.identity()] = to
			}
		}
		value, err := json.Marshal(marker{Original: v.Original, Millis: v.identity().millis, Letter: to.Letter, To: to.To, At: to.At})
		if err != nil {
			return err
		}
		markers = append(markers, &kgo.Record{
			Topic: r.Kafka.DeadLetters(), Partition: v.Place.Partition, Value: value,
			Headers: []kgo.RecordHeader{{Key: consumer.HeaderRedriven, Value: []byte(v.Place.String())}},
		})
	}
	if err := r.client.ProduceSync(ctx, markers...).FirstErr(); err != nil {
		return fmt.Errorf("the markers to topic %s: %w", r.Kafka.DeadLetters(), err)
	}
	return nil
}

// refused says what can be done.
func (r *run) refused(what string, err error) error {
	switch {
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return fmt.Errorf("%s: another redrive of these letters was begun, which ended this one; let it finish, and run this one again: %w", what, err)
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return fmt.Errorf("%s: grant this client WRITE and DESCRIBE on the transactional id %s: %w", what, TransactionalID(r.Kafka), err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("%s: grant this client WRITE on the topics that are written to: %w", what, err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%s: the topic takes no record of that size any more: raise its max.message.bytes, or leave the letter out: %w", what, err)
	case errors.Is(err, kerr.InvalidRecord):
		return fmt.Errorf("%s: the topic takes no record without a key, so it is compacted: the topic of the dead letters must not be, and originals without keys have no place in one that is: %w", what, err)
	case errors.Is(err, kerr.InvalidTimestamp):
		return fmt.Errorf("%s: the topic takes no record that old (message.timestamp.before.max.ms): raise that, or leave the letter out: %w", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
