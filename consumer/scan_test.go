package consumer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// scanned are the visits of a scan as "partition.offset text", in order; "!"
// marks a malformed record.
func (w *world) scanned(t *testing.T, cfg Config, ranges ...Range) ([]string, error) {
	t.Helper()
	var got []string
	err := Scan(ctx(t), cfg, ranges, decode, func(v Visited) error {
		text := fmt.Sprintf("%d.%d %s", v.Record.Partition, v.Record.Offset, strings.Join(texts(v.Events), "+"))
		if v.Err != nil {
			text += "!"
		}
		got = append(got, text)
		return nil
	}, quiet())
	return got, err
}

func (w *world) mustScan(t *testing.T, cfg Config, want []string, ranges ...Range) {
	t.Helper()
	got, err := w.scanned(t, cfg, ranges...)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:2], b[:2]) })
	if !slices.Equal(got, want) {
		t.Errorf("visited %q, want %q", got, want)
	}
}

func TestScanVisitsWhatIsInTheRanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.produce(t, 0, "a", "bad one", "two", "none", "e")
	w.produce(t, 2, "f", "g")
	cfg := w.config()
	ranges, err := Ranges(ctx(t), cfg)
	whole := []Range{{topic, 0, 0, 5}, {topic, 1, 0, 0}, {topic, 2, 0, 2}}
	if err != nil || !slices.Equal(ranges, whole) {
		t.Fatalf("the ranges are %v, %v; want %v", ranges, err, whole)
	}
	w.mustScan(t, cfg, []string{"0.0 a", "0.1 !", "0.2 two+two", "0.3 ", "0.4 e", "2.0 f", "2.1 g"}, whole...)
	w.mustScan(t, cfg, []string{"0.1 !", "0.2 two+two", "2.1 g"}, Range{topic, 0, 1, 3}, Range{topic, 2, 1, 2})
	w.mustScan(t, cfg, nil, Range{topic, 1, 0, 0})
}

// The last offsets of each range have no record that is shown. A scan that
// counted, or waited for the last offset, would never end.
func TestScanEndsByPosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	tx := w.client(t, kgo.TransactionalID("tx"))
	write := func(values ...string) {
		t.Helper()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if err := tx.ProduceSync(ctx(t), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.produce(t, 0, "a")
	write("aborted", "as well")
	if err := tx.EndTransaction(ctx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	write("open")
	ranges, err := Ranges(ctx(t), w.config())
	if err != nil || ranges[0].To != 4 { // a, two aborted, and the marker
		t.Fatalf("the range is %v, %v; want it to end before the open transaction, at 4", ranges, err)
	}
	w.mustScan(t, w.config(), []string{"0.0 a"}, ranges...)
	w.mustScan(t, w.config(), []string{"0.0 a"}, Range{topic, 0, 0, 3})
	if _, err := w.scanned(t, w.config(), Range{topic, 0, 0, 5}); err == nil || !strings.Contains(err.Error(), "the log holds 0 to 4") {
		t.Errorf("a range into the open transaction: %v", err)
	}
	uncommitted := w.config()
	uncommitted.Isolation = "read_uncommitted"
	w.mustScan(t, uncommitted, []string{"0.0 a", "0.1 aborted", "0.2 as well", "0.4 open"}, Range{topic, 0, 0, 5})
	if err := tx.EndTransaction(ctx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// Compaction has removed the end of the range, and what follows is not to be
// seen: no record ever comes.
func TestScanEndsInACompactionGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	altered, err := w.adm.AlterTopicConfigs(ctx(t), []kadm.AlterConfig{set("cleanup.policy", "compact"), set("delete.retention.ms", "0")}, topic)
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	keyed := func(key string, value []byte) {
		t.Helper()
		if err := w.cl.ProduceSync(ctx(t), &kgo.Record{Topic: topic, Key: []byte(key), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	keyed("kept", []byte("kept"))
	keyed("gone", []byte("gone"))
	keyed("gone", nil)
	tx := w.client(t, kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(ctx(t), &kgo.Record{Topic: topic, Key: []byte("open"), Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.mustScan(t, w.config(), []string{"0.0 kept", "0.1 gone", "0.2 "}, Range{topic, 0, 0, 3}) // control: they are there
	w.Compact()
	w.mustScan(t, w.config(), []string{"0.0 kept"}, Range{topic, 0, 0, 3})
	w.mustScan(t, w.config(), nil, Range{topic, 0, 1, 3})
	if err := tx.EndTransaction(ctx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// A broker whose tiered storage takes long answers without a batch and without an
// error, whoever asks. What lies there is not to be missed.
func TestScanWaitsForTieredStorage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a")
	var asked atomic.Int64
	w.shape(t, func(q question) ([][]byte, *kerr.Error, bool) {
		if q.asked {
			asked.Add(1)
		}
		return nil, nil, asked.Load() <= 2 // then it has come
	})
	w.mustScan(t, w.finiteConfig(), []string{"0.0 a"}, Range{topic, 0, 0, 1})
}

func TestScanStepsOverABomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.DecompressMaxBytes = 100_000
	w.bomb(t, 900_000, 3)
	w.mustScan(t, cfg, []string{"0.2 !"}, Range{topic, 0, 0, 3})
	w.produce(t, 0, "between")
	w.bomb(t, 900_000, 2)
	w.produce(t, 0, "after")
	w.mustScan(t, cfg, []string{"0.2 !", "0.3 between", "0.5 !", "0.6 after"}, Range{topic, 0, 0, 7})
}

func TestScanRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "b", "c")
	for _, r := range []Range{{topic, 0, 0, 4}, {topic, 7, 0, 1}, {"nonsense", 0, 0, 1}} {
		if got, err := w.scanned(t, w.config(), r); err == nil {
			t.Errorf("%v: visited %q without an error", r, got)
		}
	}
	deleted := kadm.Offsets{}
	deleted.Add(kadm.Offset{Topic: topic, Partition: 0, At: 2})
	if _, err := w.adm.DeleteRecords(ctx(t), deleted); err != nil {
		t.Fatal(err)
	}
	if _, err := w.scanned(t, w.config(), Range{topic, 0, 0, 3}); err == nil || !strings.Contains(err.Error(), "the log holds 2 to 3") {
		t.Errorf("what retention deleted: %v", err)
	}
	if _, err := w.scanned(t, w.config(), Range{topic, 0, 2, 3}, Range{topic, 0, 2, 3}); err == nil {
		t.Error("one partition twice is not refused")
	}
}

func TestScanReturnsTheVisitorsErrorAndADecodersBug(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "bug", "c")
	enough := errors.New("enough")
	err := Scan(ctx(t), w.config(), []Range{{topic, 0, 0, 3}}, decode, func(Visited) error { return enough }, quiet())
	if !errors.Is(err, enough) {
		t.Errorf("got %v, want the visitor's", err)
	}
	if got, err := w.scanned(t, w.config(), Range{topic, 0, 0, 3}); err == nil || !strings.Contains(err.Error(), "offset 1") {
		t.Errorf("a decoder's bug: %q, %v", got, err)
	}
	panics := func(chunk.Record) ([]chunk.Event, error) { panic("here") }
	err = Scan(ctx(t), w.config(), []Range{{topic, 0, 0, 1}}, panics, func(v Visited) error {
		if reason, _ := chunk.ReasonOf(v.Err); reason != chunk.ReasonPanicked {
			t.Errorf("a decoder that panics: %v", v.Err)
		}
		return nil
	}, quiet())
	if err != nil {
		t.Error(err)
	}
}
