package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"

	"chunktide/embedder"
	"chunktide/migrate"
)

// holder stops the n-th request of a kind, and with it whoever made it.
type holder struct {
	mu     sync.Mutex
	want   func(method string, req any) bool
	count  int
	held   chan struct{} // closed when the request came
	opened chan struct{}
}

func (h *holder) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	h.mu.Lock()
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	var wait chan struct{}
	if h.want != nil && h.want(method, req) {
		if h.count--; h.count == 0 {
			wait = h.opened
			h.want = nil
			close(h.held)
		}
	}
	h.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done(): // whoever asked is dead
			return nil, ctx.Err()
		}
	}
	return handler(ctx, req)
}

// hold arms the holder.
func (h *holder) hold(count int, want func(method string, req any) bool) (held <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.want, h.count, h.held, h.opened = want, count, make(chan struct{}), make(chan struct{})
	return h.held
}

// migrations is what status says.
func (d *desk) migrations() []migrate.Status {
	d.t.Helper()
	var all []migrate.Status
	if err := json.Unmarshal([]byte(d.must("", "migrate", "status", "-o", "json")), &all); err != nil {
		d.t.Fatal(err)
	}
	return all
}

// living are the chunks of a collection: text and version by id, and which
// model_versions they bear.
func (d *desk) living(collection string) (chunks map[string]string, models map[string]int) {
	d.t.Helper()
	chunks, models = map[string]string{}, map[string]int{}
	for _, p := range d.scroll(collection) {
		own := p.GetPayload()["_ct"].GetStructValue().GetFields()
		if own["tomb"].GetBoolValue() {
			continue
		}
		chunks[p.GetId().GetUuid()] = fmt.Sprint(p.GetPayload()["text"].GetStringValue(), own["ver"].GetIntegerValue())
		models[own["model_version"].GetStringValue()]++
	}
	return chunks, models
}

const newModelSetting = "embedder.model_name=new-bow"

// `migrate start` is killed as it makes the collection, as it begins, in the
// middle of filling and in the middle of following, while the old workers and
// the producer go on; and then goes on itself. Each time it ends level.
func TestMigrateStartGoesOnAfterAKill(t *testing.T) {
	writes := func(_ string, req any) bool {
		w, ok := req.(*qdrant.UpdateBatchPoints)
		return ok && strings.Contains(w.GetCollectionName(), "new-bow")
	}
	notes := func(_ string, req any) bool {
		u, ok := req.(*qdrant.UpdateCollection)
		return ok && strings.Contains(u.GetCollectionName(), "new-bow")
	}
	creates := func(_ string, req any) bool { _, ok := req.(*qdrant.CreateCollection); return ok }
	for _, from := range []string{"topic", "collection"} {
		t.Run(from, func(t *testing.T) {
			h := &holder{}
			d := newDeskBehind(t, h.intercept, "kafka.session_timeout=6s", "kafka.heartbeat=500ms", "kafka.batch.events=16", "backfill.batch.events=16")
			life := newHistory(900, 120)
			lines := strings.SplitAfter(life.lines.String(), "\n")
			d.must(strings.Join(lines[:300], ""), "publish")
			d.catchUp()
			fresh := append([]string{"migrate", "start", "--rejects", t.TempDir() + "/rejects"}, "--from", from)
			settings := append([]string{newModelSetting}, d.settings...)
			settings = append(settings, newModelSetting)
			for i, stage := range []struct {
				count int
				want  func(string, any) bool
			}{{1, creates}, {1, notes}, {2, notes}, {4, writes}, {1, writes}, {3, writes}} {
				held := h.hold(stage.count, stage.want)
				p := startCommand(t, os.Args[0], withSettings(settings, fresh...)...)
				// Live events meanwhile, and the old index goes on.
				d.must(strings.Join(lines[300+100*i:400+100*i], ""), "publish")
				d.catchUp()
				select {
				case <-held:
				case <-t.Context().Done():
					t.Fatal("never reached")
				}
				if err := p.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				_ = p.Wait()
			}
			h.hold(0, nil)
			d.must("", append(append([]string{}, fresh...), "--once", "--set", newModelSetting)...)
			all := d.migrations()
			if len(all) != 1 || all[0].Phase != migrate.Following || all[0].Lag != 0 || all[0].OldLag != 0 || string(all[0].Source) != from {
				t.Fatalf("the status is %+v", all)
			}
			old, models := d.living(d.index)
			if len(models) != 1 || models[embedder.BowName] == 0 {
				t.Errorf("the old collection holds %v", models)
			}
			is, models := d.living(all[0].Collection.Name)
			if !maps.Equal(is, old) || models["new-bow"] != len(is) || len(models) != 1 {
				t.Errorf("the new collection has %d chunks of %v, the old one %d, or their texts differ", len(is), models, len(old))
			}
			d.must("", "migrate", "promote", "--max-lag", "0")
			if got, models := d.living(d.index); !maps.Equal(got, old) || models["new-bow"] != len(old) {
				t.Error("the alias does not point to the new collection")
			}
			if code, _, errs := d.do("", "migrate", "abort", "--yes"); code != exitFailed || errs == "" {
				t.Errorf("abort of what is served: exit %d", code)
			}
			d.must("", "migrate", "rollback", "--yes", "--max-lag", "0")
			if _, models := d.living(d.index); models[embedder.BowName] != len(old) {
				t.Error("the alias does not point to the old collection again")
			}
			d.must("", "migrate", "abort", "--yes")
			if all := d.migrations(); len(all) != 0 {
				t.Errorf("left behind: %+v", all)
			}
		})
	}
}

// Searches through the alias go on without a pause while the index is promoted
// and rolled back again and again: each answer is whole, of one model, and
// there is no error. The control switches in two steps.
func TestSearchesNeverSeeTheSwitch(t *testing.T) {
	d := newDesk(t)
	newHistory(200, 60).publish(t, d.settings, d.cfg)
	d.catchUp()
	d.must("", "migrate", "start", "--once", "--set", newModelSetting)
	ask, _ := d.searches()
	for range 5 {
		d.must("", "migrate", "promote")
		d.must("", "migrate", "rollback", "--yes")
	}
	failures, models := ask()
	if failures != "" || models[embedder.BowName] == 0 || models["new-bow"] == 0 {
		t.Errorf("searches of %v saw %s", models, failures)
	}
	t.Logf("answers by model: %v", models)

	ask, more := d.searches()
	client := d.client()
	for _, to := range []string{d.migrations()[0].Collection.Name, d.migrations()[0].From} {
		if err := client.DeleteAlias(t.Context(), d.index); err != nil {
			t.Fatal(err)
		}
		more() // a search falls between the two steps, as it may at any time
		if err := client.CreateAlias(t.Context(), d.index, to); err != nil {
			t.Fatal(err)
		}
	}
	if failures, _ := ask(); failures == "" {
		t.Error("control: a switch in two steps went unseen")
	}
}

// searches begins to search. End ends that, and tells what went wrong and how
// many answers there were of each model; more waits for some.
func (d *desk) searches() (end func() (failures string, models map[string]int), more func()) {
	d.t.Helper()
	var wanted []*qdrant.RetrievedPoint
	for _, p := range d.scroll(d.index) {
		if p.GetVectors().GetVectors().GetVectors()["text"] != nil {
			wanted = append(wanted, p)
		}
	}
	client := d.client()
	ctx, stop := context.WithCancel(d.t.Context())
	var mu sync.Mutex
	var failures []string
	models := map[string]int{}
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				p := wanted[i%len(wanted)]
				vector := p.GetVectors().GetVectors().GetVectors()["text"]
				data := vector.GetDense().GetData()
				answer, err := client.Query(ctx, &qdrant.QueryPoints{
					CollectionName: d.index, Query: qdrant.NewQueryDense(data), Using: qdrant.PtrOf("text"), Limit: qdrant.PtrOf(uint64(len(wanted))),
					WithPayload: qdrant.NewWithPayload(true),
				})
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				seen, found := map[string]bool{}, false
				for _, a := range answer {
					seen[a.GetPayload()["_ct"].GetStructValue().GetFields()["model_version"].GetStringValue()] = true
					found = found || a.GetId().GetUuid() == p.GetId().GetUuid()
				}
				switch {
				case err != nil:
					failures = append(failures, err.Error())
				case len(seen) != 1:
					failures = append(failures, fmt.Sprint("models ", seen))
				case !found || len(answer) != len(wanted):
					failures = append(failures, fmt.Sprintf("%d of %d chunks", len(answer), len(wanted)))
				}
				for m := range seen {
					models[m]++
				}
				mu.Unlock()
				asked.Add(1)
			}
		})
	}
	more = func() {
		enough := asked.Load() + 10
		waitUntil(d.t, "searches go on", func() bool { return asked.Load() > enough })
	}
	more()
	return func() (string, map[string]int) {
		more()
		stop()
		wg.Wait()
		return strings.Join(failures[:min(3, len(failures))], "; "), models
	}, more
}

// A chunk that was lost on the way is seen by the gate, whichever way the
// collection was filled.
func TestPromoteSeesWhatIsMissing(t *testing.T) {
	for _, from := range []string{"topic", "collection"} {
		d := newDesk(t)
		newHistory(200, 60).publish(t, d.settings, d.cfg)
		d.catchUp()
		d.must("", "migrate", "start", "--once", "--from", from, "--set", newModelSetting, "--rejects", t.TempDir()+"/rejects")
		to := d.migrations()[0].Collection.Name
		var victim *qdrant.PointId
		for _, p := range d.scroll(to) {
			if p.GetVectors().GetVectors().GetVectors()["text"] != nil {
				victim = p.GetId()
			}
		}
		if _, err := d.client().Delete(t.Context(), &qdrant.DeletePoints{CollectionName: to, Wait: qdrant.PtrOf(true), Points: qdrant.NewPointsSelector(victim)}); err != nil {
			t.Fatal(err)
		}
		code, out, errs := d.do("", "migrate", "promote", "--patience", "0s")
		if code != exitFailed || !strings.Contains(errs, "verify: 1 differences") || !strings.Contains(out, "FAILS") {
			t.Errorf("%s: exit %d, %s, %s", from, code, out, errs)
		}
		if _, models := d.living(d.index); models["new-bow"] != 0 {
			t.Errorf("%s: the alias moved", from)
		}
	}
}
