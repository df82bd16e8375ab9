package deadletter

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/consumer"
)

// Each letter is sent once, however often it is asked for, as it was, and to
// where it was; a dry run changes nothing.
func eachLetterIsSentOnce(t *testing.T, w *world) {
	trace := kgo.RecordHeader{Key: "trace", Value: []byte{0, 255}}
	one := w.write(letter{value: upsert("a", 5), offset: 1, partition: 1, headers: []kgo.RecordHeader{
		trace, {Key: consumer.HeaderRedrivenFrom, Value: []byte("x:9:9")}, {Key: consumer.HeaderRedriven, Value: []byte("0:1")},
	}})
	w.write(letter{value: upsert("b", 5), offset: 2, in: 1})
	w.write(letter{value: "no JSON", offset: 3, reason: chunk.ReasonBrokenJSON})

	before := w.ends()
	dry := w.must(w.options(false))
	if len(dry) != 3 || !dry[one].Send || dry[one].Sent || w.ends() != before {
		t.Errorf("the dry run says %+v; the topics end at %s, before at %s", dry, w.ends(), before)
	}
	done := w.must(w.options(true))
	if v := done[one]; !v.Sent || v.Redriven.To.Partition != 1 || v.From != "x:9:9" || v.Redriven.Letter != one {
		t.Errorf("sent: %+v", v)
	}
	want := map[string]int{"key of 1": 1, "key of 2": 1}
	if got := w.sent(); !maps.Equal(got, want) {
		t.Errorf("the topic has %v, want %v", got, want)
	}
	for _, r := range w.records(w.cfg.Topics[0]) {
		if string(r.Key) != "key of 1" {
			continue
		}
		headers := []chunk.Header{{Key: "trace", Value: trace.Value}, {Key: consumer.HeaderRedriven, Value: []byte("0:1")},
			{Key: consumer.HeaderRedrivenFrom, Value: []byte(w.cfg.DeadLetters() + ":" + one.String())}}
		if r.Partition != 1 || !r.Timestamp.Equal(at) || string(r.Value) != upsert("a", 5) || !reflect.DeepEqual(r.Headers, headers) {
			t.Errorf("sent was %+v %s", r, r.Value)
		}
	}
	for range 2 {
		for place, v := range w.must(w.options(true)) {
			if v.Sent || v.Send {
				t.Errorf("letter %s is sent again: %+v", place, v)
			}
		}
	}
	if got := w.sent(); !maps.Equal(got, want) {
		t.Errorf("after more runs the topic has %v, want %v", got, want)
	}
	box, err := Read(t.Context(), w.cfg, w.options(false).Logger)
	if err != nil || len(box.Letters) != 3 || box.Foreign != 0 || box.Letters[0].Redriven == nil || box.Letters[1].Redriven != nil {
		t.Errorf("%+v, %v", box, err)
	}
	// Control: without the markers they go out twice.
	forgetful := w.options(true)
	forgetful.forgetful = true
	w.must(forgetful)
	if got := w.sent(); got["key of 1"] != 2 {
		t.Errorf("without markers the topic has %v: the test proves nothing", got)
	}
}

// Wherever a redrive is killed, the next one ends with each letter sent once.
func aKilledRedriveSendsNothingTwice(t *testing.T, w *world) {
	w.write(letter{value: upsert("a", 5), offset: 1})
	w.write(letter{value: upsert("b", 5), offset: 2, in: 1, partition: 1})
	want := map[string]int{"key of 1": 1, "key of 2": 1}

	// One that meets an error aborts.
	failing := w.options(true)
	failing.pause = func() error { return errors.New("no luck") }
	if _, err := w.run(failing); err == nil || !strings.Contains(err.Error(), "none of these was") {
		t.Errorf("the error is %v", err)
	}
	if got := w.sent(); len(got) != 0 {
		t.Errorf("aborted, and the topic has %v", got)
	}
	// One that is killed leaves its transaction open: the next one settles it.
	w.crash(w.options(true))
	w.must(w.options(true))
	if got := w.sent(); !maps.Equal(got, want) {
		t.Errorf("after a crash the topic has %v, want %v", got, want)
	}
	// Killed behind its commit it has told nobody; the next one knows.
	if v := w.must(w.options(true)); len(v) != 2 {
		t.Errorf("%+v", v)
	}
	if got := w.sent(); !maps.Equal(got, want) {
		t.Errorf("the topic has %v, want %v", got, want)
	}
}

// Of two at a time the later one ends the earlier one.
func twoRedrivesAtATimeSendNothingTwice(t *testing.T, w *world) {
	for i := range 5 {
		w.write(letter{value: upsert("a", 5+i), offset: int64(i), in: int32(i % 2)})
	}
	first := w.options(true)
	var second map[Place]Verdict
	first.pause = func() error {
		second = w.must(w.options(true))
		return nil
	}
	if _, err := w.run(first); err == nil || !strings.Contains(err.Error(), "another redrive") {
		t.Errorf("the first ends with %v", err)
	}
	for place, v := range second {
		if !v.Sent {
			t.Errorf("the second left letter %s: %s", place, v.Why)
		}
	}
	if got := w.sent(); len(got) != 5 || len(second) != 5 {
		t.Errorf("the topic has %v", got)
	}
	for key, n := range w.sent() {
		if n != 1 {
			t.Errorf("%s was sent %d times", key, n)
		}
	}
}

// A transaction of somebody else may hide a marker, so it is waited for.
func TestAnOpenTransactionIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(letter{value: upsert("a", 5), offset: 1})
	other, err := kgo.NewClient(kgo.SeedBrokers(w.cfg.Brokers...), kgo.TransactionalID("somebody"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: w.cfg.DeadLetters(), Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	o := w.options(true)
	o.settle = 300 * time.Millisecond
	if _, err := w.run(o); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("the error is %v", err)
	}
	if err := other.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	w.must(w.options(true))
	if got := w.sent(); got["key of 1"] != 1 {
		t.Errorf("the topic has %v", got)
	}
}

// Two letters of one record are sent as one, and each has its marker, so that
// none outlives it.
func TestLettersOfOneOriginalAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.write(letter{value: upsert("a", 5), offset: 7})
	twin := w.write(letter{value: upsert("a", 5), offset: 7, in: 1})
	// A topic that was made anew has another record at the place.
	anew := w.write(letter{value: upsert("b", 6), offset: 7, time: at.Add(time.Hour)})
	if dry := w.must(w.options(false)); !dry[first].Send || dry[twin].Send || !dry[twin].Twin || !dry[anew].Send {
		t.Errorf("the dry run says %+v", dry)
	}
	if done := w.must(w.options(true)); !done[first].Sent || done[twin].Sent || !done[anew].Sent {
		t.Errorf("sent: %+v", done)
	}
	late := w.write(letter{value: upsert("a", 5), offset: 7, in: 1})
	if done := w.must(w.options(true)); done[late].Sent || done[late].Redriven == nil || done[late].Redriven.Letter != first {
		t.Errorf("the late twin: %+v", done[late])
	}
	if got := w.sent(); got["key of 7"] != 2 {
		t.Errorf("the topic has %v", got)
	}
	marked := map[string]bool{}
	for _, r := range w.records(w.cfg.DeadLetters()) {
		if m, of, ok := readMarker(r); ok {
			if marked[of.String()] = true; of.Partition != r.Partition || m.To.Topic != w.cfg.Topics[0] {
				t.Errorf("the marker of %s lies in partition %d: %+v", of, r.Partition, m)
			}
		}
	}
	if len(marked) != 4 {
		t.Errorf("marked are %v, want all four", marked)
	}
}

// Larger than what one transaction takes.
func TestManyLettersGoInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 2*transactionLetters + 3 {
		w.write(letter{value: upsert("a", 1+i), offset: int64(i)})
	}
	// The second transaction fails: the first is durable, and told.
	n := 0
	o := w.options(true)
	o.pause = func() error {
		if n++; n == 2 {
			return errors.New("no luck")
		}
		return nil
	}
	done, err := w.run(o)
	if err == nil || len(done) != transactionLetters {
		t.Errorf("%d letters are told, with %v", len(done), err)
	}
	w.must(w.options(true))
	if got := w.sent(); len(got) != 2*transactionLetters+3 {
		t.Errorf("%d letters were sent", len(got))
	}
	for key, n := range w.sent() {
		if n != 1 {
			t.Errorf("%s was sent %d times", key, n)
		}
	}
	big := strings.Repeat("x", transactionBytes/5+1)
	for i := range 6 {
		w.write(letter{value: strings.Replace(upsert("big", i+1), "text of", big, 1), offset: 1000 + int64(i)})
	}
	o = w.options(true)
	n = 0
	o.pause = func() error { n++; return nil }
	if w.must(o); n != 2 {
		t.Errorf("%d transactions for six letters of a fifth of the bound each, want 2", n)
	}
	n = 0
	for _, r := range w.records(w.cfg.Topics[0]) {
		if bytes.Contains(r.Value, []byte(big)) {
			n++
		}
	}
	if n != 6 {
		t.Errorf("%d large ones were sent", n)
	}
}
