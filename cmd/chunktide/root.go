package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/embedder"
)

// app is what the commands share.
type app struct {
	io      stdio
	environ []string
	// patience replaces searchTimeout, in tests.
	patience time.Duration
	wrap     func(embedder.Encoder) embedder.Encoder // see runProcess

	configFile string
	set        []string
	output     string
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "chunktide",
		Short: "Keep a Qdrant vector index level with a corpus that never stops changing",
		Long: `Chunktide reads chunk-change events from Kafka, encodes the new and edited chunks,
and keeps the vectors in Qdrant: never stale, never doubled, nothing lost.

Settings come from a YAML file (--config), CHUNKTIDE_ environment variables and
--set key=value, the later wins; configs/reference.yaml lists every key, and docs/CONFIG.md
says what they do.`,
		Example: `  chunktide demo
  chunktide doctor --config chunktide.yaml
  chunktide run --config chunktide.yaml
  chunktide search --config chunktide.yaml "how do I reset my password"`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see chunktide help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usagef("name a command"))
		},
	}
	root.SetIn(a.io.in)
	root.SetOut(a.io.out)
	root.SetErr(a.io.err)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configFile, "config", "c", a.getenv("CHUNKTIDE_CONFIG"), "YAML `file` of settings (or CHUNKTIDE_CONFIG)")
	flags.StringArrayVar(&a.set, "set", nil, "a setting as `key=value`, such as kafka.group=mine; may be repeated")
	flags.StringVarP(&a.output, "output", "o", "text", "how to print results: text or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usagef("-o %s: want text or json", a.output)
		}
		return nil
	}
	root.AddCommand(a.runCommand(), a.indexCommand(), a.demoCommand(), a.publishCommand(), a.searchCommand(),
		a.encodeCommand(), a.modelCommand(), a.tuneCommand(), a.serveCommand(), a.replayCommand(), a.backfillCommand(), a.migrateCommand(), a.costCommand(), a.canaryCommand(), a.statusCommand(), a.whyCommand(), a.dlqCommand(), a.doctorCommand(), a.configCommand(), a.versionCommand())
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return root
}

// usageArgs turns a wrong number of arguments into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%s: %w", cmd.Name(), err)}
		}
		return nil
	}
}

func (a *app) getenv(name string) string {
	for _, pair := range a.environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// load reads the settings and checks those that the command needs.
func (a *app) load(sections ...configs.Section) (configs.Config, *slog.Logger, error) {
	cfg, err := a.settings(sections...)
	return cfg, a.logger(cfg.Log), err
}

// loadQuiet is load for commands that answer and end: what a worker logs in
// passing would only stand in the way of the answer.
func (a *app) loadQuiet(sections ...configs.Section) (configs.Config, *slog.Logger, error) {
	cfg, err := a.settings(sections...)
	if cfg.Log.Level == slog.LevelInfo {
		cfg.Log.Level = slog.LevelWarn
	}
	return cfg, a.logger(cfg.Log), err
}

func (a *app) settings(sections ...configs.Section) (configs.Config, error) {
	cfg, err := configs.Load(a.configFile, a.set, a.environ)
	cfg.Tracing.Version = version
	if err == nil {
		err = cfg.Validate(sections...)
	}
	if err != nil {
		return cfg, usageError{fmt.Errorf("the settings do not work:\n%s", configs.Problems(err))}
	}
	return cfg, nil
}

func (a *app) logger(cfg configs.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.io.err, options))
	}
	return slog.New(slog.NewTextHandler(a.io.err, options))
}

// printJSON writes one result for -o json.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.io.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (a *app) json() bool { return a.output == "json" }

// terminal reports whether progress can be drawn over itself.
func (a *app) terminal() bool {
	f, ok := a.io.err.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
