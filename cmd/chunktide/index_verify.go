package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"chunktide/backfill"
	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/sink"
	"chunktide/verify"
)

// verifyOptions are the flags of index verify.
type verifyOptions struct {
	verify.Options
	files        []string
	format, asOf string
	collection   string
	repair, yes  bool
	wait, watch  time.Duration
	show         int
}

func (a *app) indexVerifyCommand() *cobra.Command {
	o := verifyOptions{Options: verify.DefaultOptions()}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the index with its source, name what differs, and mend it",
		Long: `Verify folds the source, reads the index, and compares the two by digests; where they differ
it names each chunk: missing, stale, orphan (the source does not know it), wrong_model,
deleted (and still there), misassigned (the vector is not that of its text; a sample is
encoded again).

The source is kafka.topics to their present end, which must hold the whole corpus (a
compacted topic), or --files. The workers may go on: what they have not committed, and
what changes meanwhile, is no difference.

--repair sends what differs through the pipeline, and verifies again. Orphans and deleted
chunks lose their text for good, so it asks first. What the live workers write meanwhile
is not touched.

It exits with 1 if differences remain.`,
		Example: `  chunktide index verify
  chunktide index verify --files 'export/*.jsonl' --as-of 2026-05-04T10:00:00Z
  chunktide index verify --repair --yes -o json | jq .differences
  chunktide index verify --watch 1h --set admin.address=:9091 --set admin.anonymous_metrics=true`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			sections := []configs.Section{configs.Qdrant, configs.Events}
			if len(o.files) == 0 {
				sections = append(sections, configs.Kafka)
			}
			if o.needsModel() {
				sections = append(sections, configs.Embedder, configs.Cache, configs.Pipeline)
			}
			load := a.loadQuiet
			if o.watch > 0 { // a service, which logs as a worker does
				sections, load = append(sections, configs.AdminAPI), a.load
			}
			cfg, logger, err := load(sections...)
			if err != nil {
				return err
			}
			return a.verify(cmd.Context(), cfg, o, logger)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.files, "files", nil, "compare with these JSONL or Parquet `files` or patterns in place of the topic")
	f.StringVar(&o.format, "format", "", "with --files: jsonl or parquet (default: by their names)")
	f.StringVar(&o.asOf, "as-of", "", "with --files: `version or time` (RFC 3339) at which they were written; what is newer is no difference")
	f.StringVar(&o.collection, "collection", "", "the collection to verify (default: the one that is served)")
	f.BoolVar(&o.repair, "repair", false, "mend what differs")
	f.BoolVar(&o.yes, "yes", false, "with --repair: do not ask")
	f.IntVar(&o.Sample, "sample", o.Sample, "encode so many chunks again and compare the vectors; 0: none")
	f.Float64Var(&o.MinCosine, "min-cosine", o.MinCosine, "the least similarity of a sampled vector to the one its text has now")
	f.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait for workers that are behind")
	f.DurationVar(&o.watch, "watch", 0, "go on, and verify so `often`; chunktide_index_divergence on admin.address tells the result")
	f.IntVar(&o.show, "show", 20, "name so many differences; with -o json all are named")
	f.StringVar(&o.Dir, "dir", "", "`folder` for the spilled events, about 100 bytes each (default: the system's)")
	return cmd
}

func (o *verifyOptions) needsModel() bool { return o.Sample > 0 || o.repair }

func (o *verifyOptions) check() error {
	switch {
	case o.Sample < 0:
		return usagef("--sample %d: want 0 or more", o.Sample)
	case o.MinCosine < -1 || o.MinCosine > 1:
		return usagef("--min-cosine %v: want a number from -1 to 1", o.MinCosine)
	case o.wait < 0 || o.watch < 0:
		return usagef("--wait and --watch: want a time, or 0")
	case len(o.files) == 0 && (o.asOf != "" || o.format != ""):
		return usagef("--as-of and --format are for --files")
	case o.repair && o.watch > 0 && !o.yes:
		return usagef("--repair with --watch: nobody can be asked each time; give --yes")
	}
	for _, name := range o.files {
		if name == backfill.Stdin {
			return usagef("--files -: a source is read more than once; write it to a file")
		}
	}
	return nil
}

// verifier is one collection and what is needed to verify it.
type verifier struct {
	app    *app
	cfg    configs.Config
	o      verifyOptions
	logger *slog.Logger
	admin  *sink.Admin
	parts  verify.Parts
	index  *sink.Sink
	groups []string
	close  []func() error
}

// verifyResult is what is printed.
type verifyResult struct {
	Collection string `json:"collection"`
	// Repaired counts the differences that a repair was made for, Before what
	// was found before it; nil without a repair.
	Before map[verify.Kind]int `json:"before_repair,omitempty"`
	verify.Report
}

func (a *app) verify(ctx context.Context, cfg configs.Config, o verifyOptions, logger *slog.Logger) (err error) {
	if o.watch == 0 {
		if err := a.reach(ctx, cfg.Qdrant, logger); err != nil {
			return err
		}
	}
	v, err := a.newVerifier(ctx, cfg, o, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if o.watch > 0 {
		return v.watch(ctx)
	}
	result, err := v.once(ctx)
	if err != nil {
		return err
	}
	if err := a.printVerify(result, o.show); err != nil {
		return err
	}
	if n := result.Total(); n > 0 {
		return fmt.Errorf("%s in %s", numberOf(n, "difference"), result.Collection)
	}
	return nil
}

func (a *app) newVerifier(ctx context.Context, cfg configs.Config, o verifyOptions, logger *slog.Logger) (v *verifier, err error) {
	v = &verifier{app: a, cfg: cfg, o: o, logger: logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.Close())
		}
	}()
	if v.admin, err = sink.OpenAdmin(cfg.Qdrant, logger, nil); err != nil {
		return v, err
	}
	v.close = append(v.close, v.admin.Close)
	name := o.collection
	if name == "" {
		name = cfg.Qdrant.Collection
	}
	c, err := v.admin.Get(ctx, name)
	if err != nil {
		return v, err
	}
	v.groups = c.Groups
	model := c.Model
	if o.needsModel() {
		if model, err = v.openModel(ctx); err != nil {
			return v, err
		}
	}
	cfg.Qdrant.Collection = c.Name
	if v.index, err = sink.OpenExisting(ctx, cfg.Qdrant, model, logger, nil); err != nil {
		return v, err
	}
	v.close = append(v.close, v.index.Close)
	v.parts.Index, v.parts.Logger = v.index, logger
	v.o.Models = []string{c.Model.Version}
	for _, m := range c.Adopted {
		v.o.Models = append(v.o.Models, m.Version)
	}
	return v, nil
}

func (v *verifier) openModel(ctx context.Context) (sink.Model, error) {
	encoder, err := embedder.New(ctx, v.cfg.Embedder, v.logger, nil)
	if err != nil {
		return sink.Model{}, err
	}
	v.close = append(v.close, encoder.Close)
	recipe := encoder.Recipe()
	known, err := cache.New(v.cfg.Cache, recipe.Digest(), recipe.Dim, v.logger, nil)
	if err != nil {
		return sink.Model{}, err
	}
	v.close = append(v.close, known.Close)
	v.parts.Encoder, v.parts.Cache = encoder, known
	return worker.ModelPin(recipe), nil
}

// Close ends what was opened, the last first.
func (v *verifier) Close() error {
	var errs []error
	for i := len(v.close) - 1; i >= 0; i-- {
		errs = append(errs, v.close[i]())
	}
	return errors.Join(errs...)
}

// source captures the source as it is now.
func (v *verifier) source(ctx context.Context) (verify.Source, error) {
	if len(v.o.files) > 0 {
		asOf, err := backfill.ParseAsOf(v.o.asOf, time.Now())
		if err != nil {
			return nil, usagef("--as-of: %w", err)
		}
		files, err := backfill.OpenFiles(backfill.FilesConfig{Paths: v.o.files, Format: v.o.format, AsOf: asOf, Events: rowEvents(v.cfg)})
		if err != nil {
			return nil, err
		}
		return verify.Rows{
			Events: func(ctx context.Context) iter.Seq2[chunk.Event, error] { return backfill.Events(ctx, files) }, AsOf: asOf.Version,
		}, nil
	}
	decoder, err := chunk.NewDecoder(v.cfg.Events)
	if err != nil {
		return nil, err
	}
	return verify.OpenTopic(ctx, verify.TopicConfig{
		Kafka: v.cfg.Kafka, Decode: decoder.Decode, Committed: v.committed, Wait: v.o.wait, Logger: v.logger,
	})
}

// committed asks the groups that feed the collection; one of the settings'
// name may do so from before groups were noted.
func (v *verifier) committed(ctx context.Context) (map[string]map[int32]int64, error) {
	if len(v.groups) == 0 {
		return consumer.Committed(ctx, v.cfg.Kafka, []string{v.cfg.Kafka.Group})
	}
	committed, err := consumer.Committed(ctx, v.cfg.Kafka, v.groups)
	if err == nil && committed == nil {
		// It was to feed the collection, and has not begun: all is pending.
		committed = map[string]map[int32]int64{}
	}
	return committed, err
}

// once verifies, repairs if that was asked for, verifies again, and notes the
// result beside the collection.
func (v *verifier) once(ctx context.Context) (verifyResult, error) {
	result := verifyResult{Collection: v.index.Collection()}
	source, err := v.source(ctx)
	if err != nil {
		return result, err
	}
	if v.parts.Source = source; v.o.Seed == 0 {
		v.o.Seed = uint64(time.Now().UnixNano())
	}
	if result.Report, err = verify.Run(ctx, v.parts, v.o.Options); err != nil {
		return result, fmt.Errorf("verify %s: %w", result.Collection, err)
	}
	if v.o.repair && result.Total() > 0 {
		if err := v.mend(ctx, &result); err != nil {
			return result, err
		}
	}
	if err := v.admin.Note(ctx, result.Collection, newVerifyNote(result.Report)); err != nil {
		return result, fmt.Errorf("note the result beside the collection: %w", err)
	}
	return result, nil
}

// mend repairs what was found and looks again, at the same sample.
func (v *verifier) mend(ctx context.Context, result *verifyResult) error {
	if n := result.Differences[verify.Orphan] + result.Differences[verify.Deleted]; n > 0 {
		err := v.app.confirm(v.o.yes, "%s not, or no longer, in the source. Delete text and vector?", oneOrMore(n, "chunk is", "chunks are"))
		if err != nil {
			return err
		}
	}
	if err := verify.Repair(ctx, v.cfg.Pipeline, v.parts, result.Named); err != nil {
		return err
	}
	before, refused := result.Differences, map[chunk.ID]string{}
	for _, d := range result.Named {
		refused[d.ID] = d.Refused
	}
	again, err := verify.Run(ctx, v.parts, v.o.Options)
	if err != nil {
		return fmt.Errorf("verify %s after the repair: %w", result.Collection, err)
	}
	for i := range again.Named {
		again.Named[i].Refused = refused[again.Named[i].ID]
	}
	result.Report, result.Before = again, before
	return nil
}
