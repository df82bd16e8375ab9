package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/deadletter"
	"chunktide/sink"
	"chunktide/verify"
)

// whyOptions are the flags of why.
type whyOptions struct {
	source, document, chunk string
	collection, since       string
	noLog, text             bool
}

// explained is the result of why.
type explained struct {
	ID         string `json:"id"`
	Collection string `json:"collection"`
	// Point is nil if the collection has none.
	Point *pointExplained `json:"point"`
	// Record is what lies where the point says it comes from.
	Record *recordExplained `json:"record,omitempty"`
	Cached cached           `json:"cache"`
	// Log is what the log says; nil with --no-log.
	Log     *logExplained       `json:"log,omitempty"`
	Letters []deadletter.Letter `json:"dead_letters"`
}

type pointExplained struct {
	sink.Record
	ID   string `json:"id"`
	Hash string `json:"hash,omitempty"`
	// Values is how many the vector has: 0 for none, or one of an older model
	// that the collection was taken over from.
	Values int `json:"vector_values"`
}

type recordExplained struct {
	// There is false if the record is gone.
	There     bool      `json:"there"`
	Time      time.Time `json:"timestamp,omitzero"`
	Key       string    `json:"key,omitempty"`
	Op        string    `json:"op,omitempty"`
	Malformed string    `json:"malformed,omitempty"`
	// SameText says whether its text is the one that was encoded; nil where it
	// has none.
	SameText *bool `json:"same_text,omitempty"`
	// From is the letter that it was redriven from.
	From string `json:"redriven_from,omitempty"`
}

// cached says whether the vector of the point's text is in Redis now. Whether
// the write itself found it there is noted nowhere: a point must be the same to
// the byte whoever writes it again, with a full cache or an empty one.
type cached struct {
	Now   *bool  `json:"now,omitempty"`
	Error string `json:"error,omitempty"`
}

type logExplained struct {
	Answer string `json:"answer"`
	Right  bool   `json:"right"`
	// Events are those of the chunk and of its document's deletes.
	Events int         `json:"events"`
	Want   *toldByLog  `json:"want,omitempty"`
	Last   []toldByLog `json:"last"`
	Since  string      `json:"since,omitempty"`
}

type toldByLog struct {
	Topic     string        `json:"topic"`
	Partition int32         `json:"partition"`
	Offset    int64         `json:"offset"`
	Op        string        `json:"op"`
	Version   chunk.Version `json:"version"`
	Hash      string        `json:"hash,omitempty"`
	Time      time.Time     `json:"event_ts"`
	State     string        `json:"state"`
}

func (a *app) whyCommand() *cobra.Command {
	var o whyOptions
	cmd := &cobra.Command{
		Use:   "why [ID | SOURCE/DOCUMENT/CHUNK]",
		Short: "Tell where a vector came from, and what the log says it should be",
		Long: `Why shows one point of the index: which record it comes from (topic, partition, offset), its
version, hash, model and times, what lies at that offset now, and whether the vector is in the
cache. Then it reads the topics, and says what the index should hold: level, pending, missing,
stale, should be deleted, in the dead letters, ….

Name the chunk by its point's id, or by source/document/chunk. Names may have slashes in them:
then all ways to read the argument are looked up, and --source, --document and --chunk settle
it. Without --source it is events.default_source, else the one topic. Without --chunk it is the
document's own tombstone. Texts are shown with --text only.

It exits with 1 if the index is not as the log says.`,
		Example: `  chunktide why docs/handbook/intro
  chunktide why 5f0c2a37-9b11-0d52-8d35-6f2a1c7be7a4 --no-log
  chunktide why --document guides/start.md --chunk 'a/b' --since -24h -o json | jq .log`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.why(cmd.Context(), o, strings.Join(args, ""))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.source, "source", "", "the chunk's `source`")
	f.StringVar(&o.document, "document", "", "the chunk's `document_id`")
	f.StringVar(&o.chunk, "chunk", "", "its `chunk_id`")
	f.StringVar(&o.collection, "collection", "", "the collection to look at (default: the one that is served)")
	f.StringVar(&o.since, "since", "", "read the log since this `time` only: 2026-05-04T10:00:00Z, or -24h from now")
	f.BoolVar(&o.noLog, "no-log", false, "do not read the log")
	f.BoolVar(&o.text, "text", false, "show the text, too")
	return cmd
}

func (a *app) why(ctx context.Context, o whyOptions, arg string) (err error) {
	since, err := pointInTime(o.since, time.Now())
	if err != nil {
		return usagef("--since %w", err)
	}
	cfg, logger, err := a.loadQuiet(configs.Qdrant, configs.Kafka, configs.Events, configs.Cache)
	if err != nil {
		return err
	}
	names, err := candidates(o, arg, cfg)
	if err != nil {
		return err
	}
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return err
	}
	w := &why{cfg: cfg, o: o, logger: logger, bar: a.progress(), since: since}
	w.decode = func(r chunk.Record) ([]chunk.Event, error) {
		w.records++
		w.bar.show("%s read", numberOf(w.records, "record"))
		return decoder.Decode(r)
	}
	out, err := w.explain(ctx, names)
	if err != nil {
		return err
	}
	if err := a.printWhy(out, o); err != nil {
		return err
	}
	if out.Log != nil && !out.Log.Right {
		return fmt.Errorf("the chunk is not as the log says: %s", out.Log.Answer)
	}
	return nil
}

// why is one question.
type why struct {
	cfg     configs.Config
	o       whyOptions
	logger  *slog.Logger
	bar     *progress
	since   time.Time
	decode  func(chunk.Record) ([]chunk.Event, error)
	records int
}

func (w *why) explain(ctx context.Context, names []named) (explained, error) {
	out := explained{Letters: []deadletter.Letter{}}
	who, collection, err := w.point(ctx, names, &out)
	if err != nil {
		return out, err
	}
	if out.Point != nil {
		if err := w.origin(ctx, &out); err != nil {
			return out, err
		}
		w.cache(ctx, collection, &out)
	}
	if w.o.noLog {
		return out, nil
	}
	return out, w.log(ctx, who, collection, &out)
}

// point reads the point from the collection, under whichever of the names there
// is one.
func (w *why) point(ctx context.Context, names []named, out *explained) (who named, c sink.Collection, err error) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout) // as long as search waits
	defer cancel()
	admin, err := sink.OpenAdmin(w.cfg.Qdrant, w.logger, nil)
	if err != nil {
		return who, c, err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	if c, err = admin.Get(ctx, w.o.collection); err != nil {
		return who, c, err
	}
	stored, err := sink.OpenStored(ctx, w.cfg.Qdrant, c.Name, w.logger, nil)
	if err != nil {
		return who, c, err
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	ids := make([]chunk.ID, len(names))
	for i := range names {
		ids[i] = names[i].id
	}
	found, err := stored.Look(ctx, ids)
	if err != nil {
		return who, c, err
	}
	if who, err = choose(names, found); err != nil {
		return who, c, err
	}
	out.ID, out.Collection = who.id.String(), c.Name
	r, there := found[who.id]
	if !there {
		return who, c, nil
	}
	vectors, err := stored.Read(ctx, []chunk.ID{who.id}, true)
	if err != nil {
		return who, c, err
	}
	p := &pointExplained{Record: r, ID: who.id.String(), Values: len(vectors[who.id].Embedding.Vector)}
	if r.Hash != (chunk.Hash{}) {
		p.Hash = r.Hash.String()
	}
	if !w.o.text {
		p.Text, p.Metadata = "", nil
	}
	out.Point = p
	return who, c, nil
}

// origin reads the record that the point says it comes from.
func (w *why) origin(ctx context.Context, out *explained) error {
	p := out.Point
	if p.Topic == "" { // from a backfill
		return nil
	}
	r, there, err := consumer.ReadOne(ctx, w.cfg.Kafka, chunk.Origin{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset}, w.logger)
	if err != nil {
		return fmt.Errorf("read the record that the point comes from: %w", err)
	}
	out.Record = &recordExplained{There: there}
	if !there {
		return nil
	}
	e := out.Record
	e.Time, e.Key = r.Timestamp, strings.ToValidUTF8(string(r.Key), "\ufffd")
	for _, h := range r.Headers {
		if h.Key == consumer.HeaderRedrivenFrom {
			e.From = strings.ToValidUTF8(string(h.Value), "\ufffd")
		}
	}
	events, err := w.decode(r)
	if err != nil {
		e.Malformed = err.Error()
		return nil //nolint:nilerr // it is told
	}
	for i := range events {
		if events[i].ID != p.Record.ID && events[i].Op != chunk.DeleteDocument {
			continue
		}
		e.Op = events[i].Op.String()
		if events[i].Op == chunk.Upsert && !events[i].TextUnchanged {
			same := chunk.HashText(events[i].Text) == p.Record.Hash
			e.SameText = &same
		}
	}
	return nil
}

// cache asks Redis for the vector of the point's text, under the model that it
// was encoded with.
func (w *why) cache(ctx context.Context, c sink.Collection, out *explained) {
	p := out.Point
	switch {
	case w.cfg.Cache.URL == "":
		out.Cached.Error = "there is no Redis (cache.url is empty), and a worker's memory cannot be asked"
		return
	case p.Tombstone || p.Hash == "":
		out.Cached.Error = "a tombstone has no text"
		return
	}
	for _, m := range append([]sink.Model{c.Model}, c.Adopted...) {
		raw, err := hex.DecodeString(m.Digest)
		if m.Version != p.ModelVersion || err != nil || len(raw) != 32 {
			continue
		}
		now, err := w.lies(ctx, [32]byte(raw), m.Dim, p.Record.Hash)
		if err != nil {
			out.Cached.Error = oneLine(err.Error())
			return
		}
		out.Cached.Now = &now
		return
	}
	out.Cached.Error = fmt.Sprintf("the collection does not know the model %s", p.ModelVersion)
}

func (w *why) lies(ctx context.Context, digest [32]byte, dim int, hash chunk.Hash) (bool, error) {
	cfg := w.cfg.Cache
	cfg.MemoryBytes = 0
	known, err := cache.New(cfg, digest, dim, w.logger, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = known.Close() }() // nothing is in flight
	if known.Get(ctx, []chunk.Hash{hash})[0].Vector != nil {
		return true, nil
	}
	// A cache that does not answer looks like one that has nothing.
	return false, known.Ping(ctx)
}

// log asks the topics what the point should be.
func (w *why) log(ctx context.Context, who named, c sink.Collection, out *explained) error {
	groups := c.Groups
	if len(groups) == 0 {
		groups = []string{w.cfg.Kafka.Group}
	}
	source, err := verify.OpenTopic(ctx, verify.TopicConfig{
		Kafka: w.cfg.Kafka, Decode: w.decode, Since: w.since, Logger: w.logger,
		Committed: func(ctx context.Context) (map[string]map[int32]int64, error) {
			return consumer.Committed(ctx, w.cfg.Kafka, groups)
		},
	})
	if err != nil {
		return err
	}
	models := []string{c.Model.Version}
	for _, m := range c.Adopted {
		models = append(models, m.Version)
	}
	var record *sink.Record
	document := who.documentID()
	if out.Point != nil {
		record = &out.Point.Record
		document = chunk.NewDocumentID(record.Source, record.DocumentID)
	}
	one, err := verify.Ask(ctx, source, who.id, document, record, models)
	if err != nil {
		return err
	}
	box, err := deadletter.Read(ctx, w.cfg.Kafka, w.logger)
	if err != nil {
		return err
	}
	if out.Point != nil {
		who.source, who.document, who.chunk = record.Source, record.DocumentID, record.ChunkID
	} else if len(one.Events) > 0 {
		e := &one.Events[0]
		who.source, who.document, who.chunk = e.Source, e.DocumentID, e.ChunkID
	}
	out.Letters = append(out.Letters, lettersOf(box.Letters, who, one.Events)...)
	out.Log = newLogExplained(one, w.o.since)
	if last := newestOpen(out.Letters); last != nil && one.Answer.Right() && after(last, record, one.Events) || one.Answer == verify.Unknown && len(out.Letters) > 0 {
		out.Log.Answer, out.Log.Right = string(verify.InLetters), false
	}
	return nil
}
