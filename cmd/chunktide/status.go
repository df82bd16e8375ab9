package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"chunktide/cache"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/deadletter"
	"chunktide/migrate"
	"chunktide/sink"
)

// statusReport is the result of status. A part that could not be seen has an
// Error in place of its content.
type statusReport struct {
	At time.Time `json:"at"`
	// Well says that there are no Problems.
	Well       bool             `json:"well"`
	Problems   []string         `json:"problems"`
	Index      indexLook        `json:"index"`
	Group      groupLook        `json:"group"`
	Migrations migrationsLook   `json:"migrations"`
	Letters    lettersLook      `json:"dead_letters"`
	Cache      cacheLook        `json:"cache"`
	Workers    []workerReported `json:"workers"`
}

type indexLook struct {
	Alias      string           `json:"alias"`
	Collection *sink.Collection `json:"collection,omitempty"`
	Verified   *verifyNote      `json:"verified"`
	Error      string           `json:"error,omitempty"`
}

type groupLook struct {
	Name  string               `json:"name"`
	State *consumer.GroupState `json:"state,omitempty"`
	Error string               `json:"error,omitempty"`
}

type migrationsLook struct {
	Running []migrate.Status `json:"running"`
	Error   string           `json:"error,omitempty"`
}

// lettersLook counts what lies in the topic; Offsets bounds that where there
// was no time to read it.
type lettersLook struct {
	Topic    string             `json:"topic"`
	Letters  int                `json:"letters"`
	Redriven int                `json:"redriven"`
	Offsets  int64              `json:"offsets"`
	Newest   *deadletter.Letter `json:"newest,omitempty"`
	Reasons  []deadletter.Group `json:"reasons"`
	Error    string             `json:"error,omitempty"`
}

type cacheLook struct {
	Redis bool   `json:"redis"`
	Error string `json:"error,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var admins []string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show on one screen whether the index is level, and what is wrong",
		Long: `Status looks at everything at once, for a few seconds at most: the index and its last verify,
the consumer group and how far it is behind in each partition, a running migration, the dead
letters, the cache, and each worker whose admin port is given (or answers at admin.address; the
token sent is admin.token). What cannot be reached is said in its row, and the rest is shown.

It exits with 1 if something is wrong: a part that did not answer, no alias, a red collection,
no worker in the group, records that wait in a partition that nobody works on, a last verify
with differences, a worker that says it is unwell or stands still. Dead letters alone are not.`,
		Example: `  chunktide status
  chunktide status --admin http://worker-0:9470 --admin http://worker-1:9470
  chunktide status -o json | jq -r '.problems[]'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usagef("--timeout %s: want a time above 0, such as 5s", timeout)
			}
			cfg, _, err := a.loadQuiet(configs.Kafka, configs.Qdrant, configs.Cache, configs.AdminAPI)
			if err != nil {
				return err
			}
			client, err := cfg.Admin.Client()
			if err != nil {
				return err
			}
			defer client.CloseIdleConnections()
			report := lookAround(cmd.Context(), cfg, client, admins, timeout)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if a.json() {
				err = a.printJSON(report)
			} else {
				err = report.print(a.io.out)
			}
			if err == nil && !report.Well {
				err = errors.New("not all is well")
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&admins, "admin", nil, "`URL` of a worker's admin port, such as http://worker-0:9470 (default: at admin.address); may be repeated")
	// A person waits: what does not answer is an answer.
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for each part; they are looked at at once")
	return cmd
}

// lookAround looks at all parts at once.
func lookAround(ctx context.Context, cfg configs.Config, client *http.Client, admins []string, timeout time.Duration) statusReport {
	r := statusReport{At: time.Now().UTC(), Problems: []string{}, Index: indexLook{Alias: cfg.Qdrant.Index}, Group: groupLook{Name: cfg.Kafka.Group}}
	// What the adapters log about their retries would only repeat the rows.
	quiet := slog.New(slog.DiscardHandler)
	asked := len(admins) > 0
	if at := cfg.Admin.URL(); !asked && at != "" {
		admins = []string{at}
	}
	r.Workers = make([]workerReported, len(admins))
	var parts sync.WaitGroup
	look := func(part func(context.Context)) {
		parts.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			part(ctx)
		})
	}
	look(func(ctx context.Context) { r.Index.look(ctx, cfg, quiet) })
	look(func(ctx context.Context) { r.Group.look(ctx, cfg) })
	look(func(ctx context.Context) { r.Migrations.look(ctx, cfg, quiet) })
	look(func(ctx context.Context) { r.Letters.look(ctx, cfg, quiet) })
	look(func(ctx context.Context) { r.Cache.look(ctx, cfg, quiet) })
	for i, url := range admins {
		look(func(ctx context.Context) { r.Workers[i] = askWorker(ctx, client, url, asked) })
	}
	parts.Wait()
	r.judge()
	return r
}

// said is an error as a row has it: on one line.
func said(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: " + oneLine(err.Error())
	default:
		return oneLine(err.Error())
	}
}

func (l *indexLook) look(ctx context.Context, cfg configs.Config, logger *slog.Logger) {
	admin, err := sink.OpenAdmin(cfg.Qdrant, logger, nil)
	if err == nil {
		var c sink.Collection
		if c, err = admin.Get(ctx, ""); err == nil {
			l.Collection, l.Verified = &c, readVerifyNote(c.Notes)
		}
		_ = admin.Close() // it was only read from
	}
	l.Error = said(err)
}

func (l *groupLook) look(ctx context.Context, cfg configs.Config) {
	group, err := consumer.OpenGroup(ctx, cfg.Kafka)
	if err == nil {
		defer group.Close()
		var state consumer.GroupState
		if state, err = group.State(ctx); err == nil {
			l.State = &state
		}
	}
	l.Error = said(err)
}

func (l *migrationsLook) look(ctx context.Context, cfg configs.Config, logger *slog.Logger) {
	l.Running = []migrate.Status{}
	admin, err := sink.OpenAdmin(cfg.Qdrant, logger, nil)
	if err == nil {
		var all []migrate.Status
		if all, err = migrate.New(admin, cfg.Kafka, logger).Status(ctx); err == nil {
			l.Running = append(l.Running, all...)
		}
		_ = admin.Close()
	}
	l.Error = said(err)
}

func (l *lettersLook) look(ctx context.Context, cfg configs.Config, logger *slog.Logger) {
	l.Topic, l.Reasons = cfg.Kafka.DeadLetters(), []deadletter.Group{}
	box, err := deadletter.Read(ctx, cfg.Kafka, logger)
	l.Offsets = box.Offsets
	if err != nil {
		l.Error = said(err)
		return
	}
	l.Letters, l.Reasons = len(box.Letters), deadletter.Groups(box.Letters)
	for i := range box.Letters {
		letter := &box.Letters[i]
		if letter.Redriven != nil {
			l.Redriven++
		}
		if l.Newest == nil || letter.Written.After(l.Newest.Written) {
			l.Newest = letter
		}
	}
}

func (l *cacheLook) look(ctx context.Context, cfg configs.Config, logger *slog.Logger) {
	if l.Redis = cfg.Cache.URL != ""; !l.Redis {
		return
	}
	// Whether Redis does what is needed does not depend on the model.
	c, err := cache.New(cfg.Cache, [32]byte{}, 1, logger, nil)
	if err == nil {
		err = c.Ping(ctx)
		_ = c.Close()
	}
	l.Error = said(err)
}
