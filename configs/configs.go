// Package configs reads the settings of Chunktide: defaults, then a YAML file,
// then CHUNKTIDE_ environment variables, then --set flags; the later wins.
//
// Every setting is a field of an adapter's Config, so that what a setting
// means is told where it is used. Unknown keys fail, in the file and in the
// environment; all problems are reported at once. Secrets come from the
// environment or from a file (key + "_file") and are never printed.
//
// reference.yaml beside this file holds every key with its default; a test
// keeps it so. docs/CONFIG.md has what they mean.
package configs

//go:generate go run ../tools/configdoc -root ..

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"chunktide/admin"
	"chunktide/backfill"
	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/console"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/embedder/service"
	"chunktide/pipeline"
	"chunktide/sink"
	"chunktide/tracing"
)

// Config is everything that can be set.
type Config struct {
	Kafka    consumer.Config     `mapstructure:"kafka"`
	Events   chunk.DecoderConfig `mapstructure:"events"`
	Embedder embedder.Config     `mapstructure:"embedder"`
	Cache    cache.Config        `mapstructure:"cache"`
	Qdrant   sink.Config         `mapstructure:"qdrant"`
	Pipeline pipeline.Config     `mapstructure:"pipeline"`
	Backfill backfill.Config     `mapstructure:"backfill"`
	Serve    service.Config      `mapstructure:"serve"`
	Limits   Limits              `mapstructure:"limits"`
	Admin    admin.Config        `mapstructure:"admin"`
	Tracing  tracing.Config      `mapstructure:"tracing"`
	Console  console.Config      `mapstructure:"console"`
	Log      Log                 `mapstructure:"log"`
}

// Log says how much is logged, and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level slog.Level `mapstructure:"level"`
	// Format is text or json.
	Format string `mapstructure:"format"`
}

// Default is what holds when nothing is set.
func Default() Config {
	return Config{
		Kafka:    consumer.DefaultConfig(),
		Events:   chunk.DefaultDecoderConfig(),
		Embedder: embedder.DefaultConfig(),
		Cache:    cache.DefaultConfig(),
		Qdrant:   sink.DefaultConfig(),
		Pipeline: pipeline.DefaultConfig(),
		Backfill: backfill.DefaultConfig(),
		Serve:    service.DefaultConfig(),
		Admin:    admin.DefaultConfig(),
		Tracing:  tracing.DefaultConfig(),
		Console:  console.DefaultConfig(),
		Log:      Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// Section is a part of the settings that a command needs.
type Section string

// The sections; log is always needed.
const (
	Kafka    Section = "kafka"
	Events   Section = "events"
	Embedder Section = "embedder"
	Cache    Section = "cache"
	Qdrant   Section = "qdrant"
	Pipeline Section = "pipeline"
	Backfill Section = "backfill"
	Serve    Section = "serve"
	Whole    Section = "limits"
	AdminAPI Section = "admin"
	Tracing  Section = "tracing"
	Page     Section = "console"
)

// Worker is what the worker needs: everything.
func Worker() []Section {
	return []Section{Kafka, Events, Embedder, Cache, Qdrant, Pipeline, Whole, AdminAPI, Tracing, Page}
}

// Validate reports every problem in the given sections, each with its key.
func (c Config) Validate(sections ...Section) error {
	var all []error
	check := func(s Section, err error) {
		if slices.Contains(sections, s) {
			all = append(all, prefix(s, err)...)
		}
	}
	check(Kafka, c.Kafka.Validate())
	check(Events, c.Events.Validate())
	check(Embedder, c.Embedder.Validate())
	check(Cache, c.Cache.Validate())
	check(Qdrant, c.Qdrant.Validate())
	check(Pipeline, c.Pipeline.Validate())
	check(Pipeline, c.validateStall())
	check(Backfill, c.Backfill.Validate())
	check(Serve, c.Serve.Validate())
	check(Whole, c.validateLimits())
	check(AdminAPI, c.Admin.Validate())
	check(Tracing, c.Tracing.Validate())
	check(Page, c.Console.Validate())
	if c.Log.Format != "text" && c.Log.Format != "json" {
		all = append(all, fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format))
	}
	return errors.Join(all...)
}

// validateStall tells a stall from a request that is waiting for its answer:
// while one is, nothing else moves.
func (c Config) validateStall() error {
	if least := c.Qdrant.RequestTimeout + 2*c.Qdrant.Retry.Max; c.Pipeline.StallTimeout > 0 && c.Pipeline.StallTimeout <= least {
		return fmt.Errorf("stall_timeout: must be longer than %s (qdrant.request_timeout, and twice qdrant.retry.max), "+
			"else an index that is away for a moment counts as a worker that is stuck", least)
	}
	if least := c.Embedder.LongestWait(); c.Pipeline.StallTimeout > 0 && c.Pipeline.StallTimeout <= least {
		return fmt.Errorf("stall_timeout: must be longer than %s (embedder.remote.timeout, and the longest pause between attempts), "+
			"else a service that is away for a moment counts as a worker that is stuck", least)
	}
	return nil
}

// prefix puts a section's name before each of the errors that were joined.
func prefix(s Section, err error) []error {
	if err == nil {
		return nil
	}
	parts := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		parts = joined.Unwrap()
	}
	out := make([]error, len(parts))
	for i, e := range parts {
		out[i] = fmt.Errorf("%s.%w", s, e)
	}
	return out
}

// Problems is one line for each of the errors in err.
func Problems(err error) string {
	return "  - " + strings.ReplaceAll(err.Error(), "\n", "\n  - ")
}
