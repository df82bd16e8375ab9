package deadletter

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/consumer"
)

// What a redrive would do harm with, or nothing, stays where it is, and is told
// why.
func TestWhatCannotBeSentIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := []struct {
		letter letter
		why    string // "" is sent
	}{
		{letter{value: upsert("a", 5)}, ""},
		{letter{value: upsert("a", 0)}, ""}, // its time goes along
		{letter{value: `{"op":"delete","document_id":"d","chunk_id":"a","version":9}`}, ""},
		{letter{value: `{"op":"delete","document_id":"d","chunk_id":"a"}`}, "a delete without a version"},
		{letter{nothing: true, reason: chunk.ReasonNoIdentity}, "tombstone"},
		{letter{value: "{", reason: chunk.ReasonBrokenJSON}, "would be refused again (broken_json)"},
		{letter{value: `{"ts_ms":1}`}, "no change of a chunk"},
		{letter{first: "3", omitted: "a record batch", nothing: true}, "replay --to 0=3"},
		{letter{value: upsert("a", 5), topic: "elsewhere"}, "kafka.topics"},
		{letter{value: upsert("a", 5), partition: 2}, "no partition 2"},
		{letter{value: upsert("a", 5), reason: "java.lang.Exception"}, "somebody else"},
		{letter{value: upsert("a", 5), reason: chunk.ReasonKilledWorkers}, "it killed workers"},
		{letter{omitted: "value 9 bytes", nothing: true}, "publish the event anew"},
		{letter{value: upsert("a", 0), time: time.UnixMilli(-1)}, "refused again (bad_version)"},
		{letter{value: "panic"}, "refused again (panicked)"},
	}
	places := make([]Place, len(cases))
	for i, c := range cases {
		c.letter.offset = int64(100 + i)
		places[i] = w.write(c.letter)
	}
	o := w.options(true)
	decode := o.Decode
	o.Decode = func(r chunk.Record) ([]chunk.Event, error) {
		if string(r.Value) == "panic" {
			panic("at the disco")
		}
		return decode(r)
	}
	done := w.must(o)
	for i, c := range cases {
		v := done[places[i]]
		if v.Sent != (c.why == "") || !strings.Contains(v.Why, c.why) {
			t.Errorf("%+v: sent %v, %q; want %q", c.letter, v.Sent, v.Why, c.why)
		}
	}
	if got := w.sent(); len(got) != 3 {
		t.Errorf("the topic has %v", got)
	}
	// One that killed workers is sent if it is named, by either.
	for _, f := range []Filter{
		{Reasons: []string{string(chunk.ReasonKilledWorkers)}}, {Spans: []Span{{Partition: places[11].Partition, First: places[11].Offset, Last: places[11].Offset}}},
	} {
		o := w.options(false)
		o.Filter = f
		if v := w.must(o)[places[11]]; !v.Send {
			t.Errorf("named by %+v it is left: %s", f, v.Why)
		}
	}
}

// A letter that was cut is sent from its original, if that is the same record.
func TestACutLetterIsSentFromItsOriginal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	original := &kgo.Record{Topic: w.cfg.Topics[0], Partition: 1, Key: []byte("original"), Value: []byte(upsert("a", 5)), Timestamp: at}
	if err := w.cl.ProduceSync(t.Context(), original).FirstErr(); err != nil {
		t.Fatal(err)
	}
	same := w.write(letter{omitted: "value 70 bytes", nothing: true, partition: 1, offset: original.Offset})
	other := w.write(letter{omitted: "value 70 bytes", nothing: true, partition: 1, offset: original.Offset, time: at.Add(time.Second)})
	done := w.must(w.options(true))
	if !done[same].Sent || done[other].Sent || !strings.Contains(done[other].Why, "gone") {
		t.Errorf("%+v", done)
	}
	if got := w.sent(); got["original"] != 2 { // it, and it once more
		t.Errorf("the topic has %v", got)
	}
}

// Where the broker puts in its own time, an event without a version would
// become the newest.
func TestABrokersOwnTimeIsNoVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stamped := w.write(letter{value: upsert("a", 0), offset: 1})
	versioned := w.write(letter{value: upsert("b", 7), offset: 2})
	answers, err := w.adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "message.timestamp.type", Value: kadm.StringPtr("LogAppendTime")},
	}, w.cfg.Topics[0])
	if err != nil || answers[0].Err != nil {
		t.Fatal(err, answers)
	}
	done := w.must(w.options(false))
	if done[stamped].Send || !strings.Contains(done[stamped].Why, "message.timestamp.type") || !done[versioned].Send {
		t.Errorf("%+v", done)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	hour := func(n int) time.Time { return time.UnixMilli(1_700_000_000_000).Add(time.Duration(n) * time.Hour) }
	letters := []Letter{
		{Place: Place{0, 1}, Reason: "broken_json", Written: hour(1), Stage: "decode", Original: Original{Topic: "a"}},
		{Place: Place{0, 2}, Reason: "too_large", Written: hour(2), Stage: "decode", Original: Original{Topic: "b"}, Redriven: &Redriven{}},
		{Place: Place{1, 1}, Reason: "too_large", Written: hour(3), Stage: "encode", Original: Original{Topic: "a"}},
		{Place: Place{1, 2}, Reason: "bad_vector", Written: hour(4), Stage: "encode", Original: Original{Topic: "a"}},
	}
	span := func(text string) Span {
		s, err := ParseSpan(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "0:1 0:2 1:1 1:2"},
		{Filter{Reasons: []string{"too_large"}}, "0:2 1:1"},
		{Filter{Reasons: []string{"too_large", "bad_vector"}}, "0:2 1:1 1:2"},
		{Filter{Since: hour(2)}, "0:2 1:1 1:2"},
		{Filter{Until: hour(2)}, "0:1"},
		{Filter{Since: hour(2), Until: hour(4)}, "0:2 1:1"},
		{Filter{Spans: []Span{span("0:2")}}, "0:2"},
		{Filter{Spans: []Span{span("0:0-1"), span("1:2-")}}, "0:1 1:2"},
		{Filter{Reasons: []string{"too_large"}, Spans: []Span{span("1:0-")}}, "1:1"},
		{Filter{Reasons: []string{"no_before"}}, ""},
	} {
		var got []string
		chosen, err := c.filter.Choose(Box{Letters: letters, Partitions: 2})
		if err != nil {
			t.Error(err)
		}
		for _, l := range chosen {
			got = append(got, l.Place.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.filter, got, c.want)
		}
		if c.filter.Empty() != (len(got) == len(letters)) {
			t.Errorf("%+v is empty: %v", c.filter, c.filter.Empty())
		}
	}
	for text, there := range map[string]bool{"0:1-2": true, "0:2-99": true, "0:3-": true, "2:0-": false, "9:0-": false, "0:3": false, "9:0-4": false, "0:0": false} {
		f := Filter{Spans: []Span{span("1:1"), span(text)}}
		if _, err := f.Choose(Box{Letters: letters, Partitions: 2}); (err == nil) != there || !there && !strings.Contains(err.Error(), "no dead letter at "+text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	// A topic that does not exist has no partition either.
	if _, err := (&Filter{Spans: []Span{span("0:0-")}}).Choose(Box{Topic: "nowhere"}); err == nil || !strings.Contains(err.Error(), "topic nowhere does not exist") {
		t.Error(err)
	}
	groups := Groups(letters)
	if len(groups) != 3 || groups[0].Reason != "too_large" || groups[0].Letters != 2 || groups[0].Redriven != 1 || !groups[0].First.Equal(hour(2)) ||
		!groups[0].Last.Equal(hour(3)) || fmt.Sprint(groups[0].Stages, groups[0].Topics) != "[decode encode] [a b]" || groups[1].Reason != "bad_vector" {
		t.Errorf("%+v", groups)
	}
	for _, text := range []string{"", "0", "0:", ":1", "0:x", "-1:1", "0:-1", "0:5-4", "0:1-x", "0:1-2-3", "2147483648:1", "0:9223372036854775808", " 0:1"} {
		if s, err := ParseSpan(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

// FuzzSpan: what is read says the same when it is written.
func FuzzSpan(f *testing.F) {
	for _, seed := range []string{"0:1", "0:1-2", "3:0-", "0:5-4", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpan(text)
		if err != nil {
			return
		}
		again, err := ParseSpan(fmt.Sprintf("%d:%d-%d", s.Partition, s.First, s.Last))
		if err != nil || again != s || s.First > s.Last || s.First < 0 || s.Partition < 0 {
			t.Errorf("%q is %+v, and again %+v, %v", text, s, again, err)
		}
	})
}

// FuzzRecord: whatever lies in the topic, it is a letter, a marker or foreign,
// and no original's own headers make a letter a marker.
func FuzzRecord(f *testing.F) {
	f.Add("__connect.errors.topic", "docs", "chunktide.redriven", "0:1", []byte(`{"to":{"topic":"docs"}}`))
	f.Add("chunktide.redriven", "0:1", "__connect.errors.offset", "-5", []byte("{"))
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string, value []byte) {
		r := chunk.Record{Value: value, Headers: []chunk.Header{{Key: key1, Value: []byte(value1)}, {Key: key2, Value: []byte(value2)}}}
		_, of, marker := readMarker(r)
		if marker && (newLetter(r).named || of.Partition < 0 || of.Offset < 0) {
			t.Errorf("both a marker and a letter: %+v", r)
		}
		r.Headers = append(r.Headers, chunk.Header{Key: "__connect.errors.topic", Value: []byte("docs")})
		if _, _, marker := readMarker(r); marker {
			t.Errorf("a letter is taken for a marker: %+v", r)
		}
	})
}

var row = regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)` \\| (.*) \\| (.*) \\|$")

// The table of the docs and what explain says are one.
func TestTheReasonsAreThoseOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/EVENTS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| reason | what happened | what to do |\n")
	if !found {
		t.Fatal("EVENTS.md has no table of the reasons")
	}
	var docs []Advice
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		docs = append(docs, Advice{chunk.Reason(m[1]), m[2], m[3]})
	}
	ours := Reasons()
	for i := range max(len(docs), len(ours)) {
		if i >= len(docs) || i >= len(ours) || docs[i] != ours[i] {
			t.Fatalf("row %d differs: the docs have %+v, the code %+v", i, docs[min(i, len(docs)-1)], ours[min(i, len(ours)-1)])
		}
	}
	for i, r := range chunk.Reasons() {
		if _, known := AdviceOn(string(r)); !known || len(ours) != len(chunk.Reasons()) {
			t.Errorf("reason %d, %s, is not told of", i, r)
		}
	}
	if _, known := AdviceOn("java.lang.Exception"); known {
		t.Error("advice on a reason that nobody gives")
	}
}

// What a broker refuses is told with what to do.
func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	r := &run{Options: Options{Kafka: consumer.Config{DeadLetterTopic: "letters"}}}
	for err, want := range map[error]string{
		kerr.ProducerFenced: "another redrive", kerr.InvalidProducerEpoch: "another redrive", kerr.TransactionalIDAuthorizationFailed: "chunktide-redrive-letters",
		kerr.TopicAuthorizationFailed: "grant this client WRITE", kerr.MessageTooLarge: "max.message.bytes", kerr.InvalidTimestamp: "message.timestamp.before.max.ms",
		kerr.InvalidRecord: "compacted", kerr.NotEnoughReplicas: "send: ",
	} {
		if got := r.refused("send", fmt.Errorf("letter 0:1: %w", err)); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v lacks %q", got, want)
		}
	}
}
