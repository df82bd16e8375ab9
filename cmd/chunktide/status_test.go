package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/consumer"
	"chunktide/deadletter"
	"chunktide/migrate"
	"chunktide/sink"
)

// The screen of an index with a worker, without one, with dead letters, and
// while parts are away.
func TestStatus(t *testing.T) {
	d := newDesk(t)
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"a","text":"three words here","version":1}`, "publish")
	args := []string{"run", "--set", "admin.address=127.0.0.1:0"}
	for _, s := range d.settings {
		if !strings.HasPrefix(s, "admin.") {
			args = append(args, "--set", s)
		}
	}
	address, stop := background(t, args...)
	look := func(more ...string) (int, statusReport) {
		t.Helper()
		code, out, _ := d.do("", append([]string{"status", "-o", "json"}, more...)...)
		return code, decodeJSON[statusReport](t, out)
	}
	for code, s := look("--admin", "http://"+address); ; code, s = look("--admin", "http://"+address) {
		// The worker joins, reads and commits as it comes to it.
		if !s.Well || s.Workers[0].FreshnessP50 == nil || s.Group.State.Lag > 0 {
			continue
		}
		if code != exitDone || s.Index.Collection.Points != 1 || s.Group.State.State != "Stable" || len(s.Group.State.Members[0].Partitions) != 3 ||
			s.Workers[0].Model == "" || s.Letters.Letters != 0 || s.Cache.Redis || len(s.Migrations.Running) != 0 {
			t.Errorf("exit %d: %+v", code, s)
		}
		break
	}
	code, out, errs := d.do("", "status", "--admin", address)
	if code != exitFailed || !strings.Contains(out, "is no URL") || !strings.Contains(errs, "not all is well") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	out = d.must("", "status", "--admin", "http://"+address+"/metrics")
	for _, want := range []string{"All is well.", "docs 0-2; 0 behind", "0 records behind", "ready", "dead letters  none", "never", "no Redis", "freshness p50"} {
		if !strings.Contains(out, want) {
			t.Errorf("the screen lacks %q:\n%s", want, out)
		}
	}
	if lines := strings.Count(out, "\n"); lines > 24 {
		t.Errorf("the screen has %d lines", lines)
	}
	stop()
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	d := newDesk(t)
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"a","text":"three words here","version":1}`, "publish")
	d.catchUp()
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"a","text":"three other words","version":2}`, "publish")
	code, out, _ := d.do("", "status")
	if code != exitFailed || !strings.Contains(out, "no worker is in group desk, and 1 record waits") || !strings.Contains(out, "1 behind, nobody's") {
		t.Errorf("exit %d: %s", code, out)
	}
	// Parts that are away are said in their rows, and the rest is shown.
	d.settings = append(d.settings, "qdrant.address=127.0.0.1:1", "cache.url=redis://127.0.0.1:1")
	code, out, _ = d.do("", "status", "--timeout", "500ms", "--admin", "http://127.0.0.1:1")
	for _, want := range []string{"desk cannot be seen", "no answer in time", "cache", "cannot be used", "1 record behind", "worker", "http://127.0.0.1:1 cannot be seen", "migration"} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("exit %d, without %q: %s", code, want, out)
		}
	}
	d.settings = append(d.settings, "kafka.brokers=127.0.0.1:1", "admin.address=127.0.0.1:1")
	code, out, _ = d.do("", "status", "--timeout", "500ms")
	for _, want := range []string{"group         desk cannot be seen", "dead letters  cannot be seen", "none answers at"} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("exit %d, without %q: %s", code, want, out)
		}
	}
	if code, _, _ := d.do("", "status", "--timeout", "0s"); code != exitUsage {
		t.Errorf("exit %d", code)
	}
}

// The dead letters are asked for once, and what is known of them is told also
// where there was no time to read them.
func TestStatusAsksForTheLettersOnce(t *testing.T) {
	d := newDesk(t)
	var asked atomic.Int64
	d.stack.Kafka.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		d.stack.Kafka.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	quiet := slog.New(slog.DiscardHandler)
	if _, err := deadletter.Read(t.Context(), d.cfg.Kafka, quiet); err != nil {
		t.Fatal(err)
	}
	once := asked.Swap(0)
	var l lettersLook
	if l.look(t.Context(), d.cfg, quiet); l.Error != "" || once == 0 || asked.Load() != once {
		t.Errorf("%d questions for the offsets, want %d: %+v", asked.Load(), once, l)
	}
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"a","text":"three words here","version":1}`, "publish", "--topic", "docs.dead-letters")
	ctx, timeIsUp := context.WithCancel(t.Context())
	d.stack.Kafka.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		timeIsUp()
		return nil, errors.New("no more time"), true
	})
	if l.look(ctx, d.cfg, quiet); l.Error == "" || l.Offsets != 1 {
		t.Errorf("%+v", l)
	}
}

// Each thing that is wrong is told, and what is well is not.
func TestStatusJudges(t *testing.T) {
	t.Parallel()
	part := func(n int32, lag int64, member int) consumer.PartitionState {
		return consumer.PartitionState{TopicPartition: consumer.TopicPartition{Topic: "docs", Partition: n}, Committed: 5, End: 5 + lag, Lag: lag, Member: member}
	}
	well := func() *statusReport {
		return &statusReport{
			Problems: []string{},
			Index:    indexLook{Alias: "i", Collection: &sink.Collection{Name: "c", Status: "green", Groups: []string{"g"}}},
			Group: groupLook{Name: "g", State: &consumer.GroupState{
				State: "Stable", Members: []consumer.Assigned{{}}, Partitions: []consumer.PartitionState{part(0, 7, 0), part(1, 0, -1)}, Lag: 7,
			}},
			Migrations: migrationsLook{Running: []migrate.Status{{}}},
			Letters:    lettersLook{Letters: 3},
			Workers: []workerReported{
				{URL: "default", Error: "away"}, {URL: "w", Asked: true, BacklogEvents: 7, EventsPerSecond: 3}, {URL: "new", BacklogEvents: 7, DrainSeconds: 5},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(*statusReport)
		want   string
	}{
		"all well":   {func(*statusReport) {}, ""},
		"optimising": {func(r *statusReport) { r.Index.Collection.Status = "yellow" }, ""},
		"red":        {func(r *statusReport) { r.Index.Collection.Status = "red" }, "red"},
		"no index":   {func(r *statusReport) { r.Index = indexLook{Error: "no such alias"} }, "index cannot be seen"},
		"verified":   {func(r *statusReport) { r.Index.Verified = &verifyNote{} }, ""},
		"differs":    {func(r *statusReport) { r.Index.Verified = &verifyNote{Total: 2} }, "found 2 differences"},
		"another's":  {func(r *statusReport) { r.Index.Collection.Groups = []string{"x"} }, "fed by x"},
		"nobody's":   {func(r *statusReport) { r.Group.State.Partitions[1] = part(1, 2, -1) }, "nobody works on docs/1, where 2 records wait"},
		"it rebalances": {func(r *statusReport) {
			r.Group.State.Partitions[1] = part(1, 2, -1)
			r.Group.State.State = "PreparingRebalance"
		}, ""},
		"no worker":         {func(r *statusReport) { r.Group.State = &consumer.GroupState{State: "Empty"} }, "no worker is in group g"},
		"no group":          {func(r *statusReport) { r.Group = groupLook{Name: "g", Error: "away"} }, "group cannot be seen"},
		"letters away":      {func(r *statusReport) { r.Letters.Error = "away" }, "dead letters cannot be seen"},
		"migrations away":   {func(r *statusReport) { r.Migrations.Error = "away" }, "migrations cannot be seen"},
		"cache away":        {func(r *statusReport) { r.Cache.Error = "away" }, "cache cannot be used"},
		"worker away":       {func(r *statusReport) { r.Workers[1].Error = "away" }, "worker w cannot be seen"},
		"worker not ready":  {func(r *statusReport) { r.Workers[1].NotReady = "no" }, "worker w is not ready: no"},
		"worker not well":   {func(r *statusReport) { r.Workers[1].NotReady, r.Workers[1].Unwell = "no", "ill" }, "worker w is not well: ill"},
		"worker that halts": {func(r *statusReport) { r.Workers[1].EventsPerSecond, r.Workers[1].DrainSeconds = 0, 61 }, "nothing became durable"},
	} {
		r := well()
		c.change(r)
		r.judge()
		if got := strings.Join(r.Problems, "; "); r.Well != (c.want == "") || !strings.Contains(got, c.want) || c.want != "" && len(r.Problems) != 1 {
			t.Errorf("%s: well %v, %q; want %q", name, r.Well, got, c.want)
		}
		if r.Letters.Error == "" {
			r.Letters.Letters = 0
		}
		var out strings.Builder
		if err := r.print(&out); err != nil || strings.Contains(out.String(), "All is well.") != r.Well {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
}

func TestPartitionsAreNamedShortly(t *testing.T) {
	t.Parallel()
	var list []consumer.TopicPartition
	for _, n := range []int32{0, 1, 2, 5, 7, 8} {
		list = append(list, consumer.TopicPartition{Topic: "a", Partition: n})
	}
	list = append(list, consumer.TopicPartition{Topic: "b", Partition: 9})
	if got := partitions(list); got != "a 0-2, 5, 7-8, b 9" {
		t.Error(got)
	}
	for in, want := range map[float64]string{.0004: "0s", 1.5: "1.5s", 75: "1m15s", 86400 * 3: "3 days", 1e12: "years"} {
		if got := howLong(in); got != want {
			t.Errorf("%v is %s, want %s", in, got, want)
		}
	}
}

const workerMetrics = `# TYPE chunktide_backlog_events gauge
chunktide_backlog_events 12
chunktide_backlog_drain_seconds 3.5
chunktide_drain_rate_events_per_second 4
chunktide_model_calls_total{kind="document",model_version="m@1"} 10
chunktide_model_calls_total{kind="query",model_version="m@1"} 99
chunktide_model_calls_saved_total 30
# TYPE chunktide_freshness_seconds histogram
chunktide_freshness_seconds_bucket{le="1"} 50
chunktide_freshness_seconds_bucket{le="2"} 100
chunktide_freshness_seconds_bucket{le="+Inf"} 100
chunktide_freshness_seconds_sum 90
chunktide_freshness_seconds_count 100
chunktide_build_info{version="v",model_version="m@1"} 1
process_start_time_seconds 1.7e9
`

func TestAWorkersMetricsAreRead(t *testing.T) {
	t.Parallel()
	var w workerReported
	if problem := w.read(strings.NewReader(workerMetrics)); problem != "" {
		t.Fatal(problem)
	}
	if w.BacklogEvents != 12 || w.DrainSeconds != 3.5 || w.EventsPerSecond != 4 || *w.HitRate != .75 || *w.FreshnessP50 != 1 || *w.FreshnessP99 != 1.98 ||
		w.Model != "m@1" || !w.Started.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("%+v, %v %v", w, *w.FreshnessP50, *w.FreshnessP99)
	}
	for _, text := range []string{"", "<html>", "chunktide_backlog_events", "up 1\n"} {
		if problem := (&workerReported{}).read(strings.NewReader(text)); problem == "" {
			t.Errorf("%q is read", text)
		}
	}
}

func FuzzWorkerMetrics(f *testing.F) {
	f.Add(workerMetrics)
	f.Add("chunktide_backlog_events NaN\n# TYPE chunktide_freshness_seconds histogram\nchunktide_freshness_seconds_bucket{le=\"1\"} 5\nchunktide_freshness_seconds_count 9\n")
	f.Fuzz(func(t *testing.T, text string) {
		var w workerReported
		if w.read(strings.NewReader(text)) != "" {
			return
		}
		w.Asked = true
		var out strings.Builder
		r := statusReport{Workers: []workerReported{w}, Group: groupLook{Error: "x"}, Index: indexLook{Error: "x"}}
		r.judge()
		if err := r.print(&out); err != nil {
			t.Error(err)
		}
	})
}
