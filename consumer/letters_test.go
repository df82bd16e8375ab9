package consumer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

func (w *world) lastLetters(t *testing.T, cfg Config, n int) (told []string) {
	t.Helper()
	last, err := LastLetters(ctx(t), cfg, n, quiet())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range last {
		told = append(told, fmt.Sprintf("%s %d@%d %s: %s", l.Reason, l.Original.Partition, l.Original.Offset, l.Stage, l.Value))
	}
	return told
}

func TestTheLastLettersAreRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	cfg := w.config()
	if got := w.lastLetters(t, cfg, 3); len(got) != 0 {
		t.Errorf("of an empty topic: %q", got)
	}
	w.produce(t, 0, "bad 1", "good", "bad 2", "bad 3", "bad 4")
	s := open(t, cfg, nil)
	gather(t, s, 1)
	w.deadLetters(t, 4)
	want := []string{"broken_json 0@4 decode: bad 4", "broken_json 0@3 decode: bad 3", "broken_json 0@2 decode: bad 2"}
	if got := w.lastLetters(t, cfg, 3); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := w.lastLetters(t, cfg, 99); len(got) != 4 {
		t.Errorf("of four there are %q", got)
	}
	missing := cfg
	missing.DeadLetterTopic = "nowhere"
	if got := w.lastLetters(t, missing, 3); len(got) != 0 {
		t.Errorf("of a topic that is not there: %q", got)
	}
}

// What is no letter of ours, or has been one before, is read as it is.
func TestLettersOfOthersAreRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	header := func(pairs ...string) (out []kgo.RecordHeader) {
		for i := 0; i+1 < len(pairs); i += 2 {
			out = append(out, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return out
	}
	at := time.UnixMilli(1_700_000_000_000)
	for i, headers := range [][]kgo.RecordHeader{
		nil,
		header(HeaderPartition, "many", HeaderOffset, "-", HeaderTimestamp, "soon", HeaderReason, "odd"),
		header(HeaderReason, "first", HeaderOffset, "1", HeaderReason, "second", HeaderOffset, "2", HeaderOmitted, "value 9 bytes", HeaderTimestamp, "5"),
	} {
		r := &kgo.Record{Topic: letters, Value: []byte("v"), Headers: headers, Timestamp: at.Add(time.Duration(i) * time.Second)}
		if err := w.cl.ProduceSync(ctx(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"second 0@2 : v", "odd 0@0 : v", " 0@0 : v"}
	if got := w.lastLetters(t, w.config(), 10); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	last, err := LastLetters(ctx(t), w.config(), 1, quiet())
	if err != nil || len(last) != 1 || last[0].Omitted != "value 9 bytes" || !last[0].OriginalTime.Equal(time.UnixMilli(5)) || !last[0].Timestamp.Equal(at.Add(2*time.Second)) {
		t.Errorf("%+v, %v", last, err)
	}
	away := w.config()
	away.Brokers = []string{"127.0.0.1:1"}
	short, cancel := timeout(t, 2*time.Second)
	defer cancel()
	if _, err := LastLetters(short, away, 1, quiet()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("of a broker that is away: %v", err)
	}
}

// Markers of a redrive are no letters, and hide none.
func TestMarkersAreNoLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	produce := func(pairs ...string) {
		t.Helper()
		r := &kgo.Record{Topic: letters, Value: []byte("v")}
		for i := 0; i+1 < len(pairs); i += 2 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		if err := w.cl.ProduceSync(ctx(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// A letter of a record that pretended to be a marker, a cut letter, and a batch.
	produce(HeaderRedriven, "0:1", HeaderOmitted, "all", HeaderFirstOffset, "7", HeaderTopic, topic, HeaderPartition, "0", HeaderOffset, "3", HeaderReason, "first")
	for range 20 {
		produce(HeaderRedriven, "0:0")
	}
	if got := w.lastLetters(t, w.config(), 2); !slices.Equal(got, []string{"first 0@3 : v"}) {
		t.Errorf("behind markers there are %q", got)
	}
	last, err := LastLetters(ctx(t), w.config(), 1, quiet())
	if err != nil || !last[0].Named || last[0].Omitted != "" || last[0].First != -1 || len(last[0].Own) != 3 {
		t.Errorf("%+v, %v", last, err)
	}
	for _, l := range []Letter{
		ParseLetter(chunk.Record{}),
		ParseLetter(chunk.Record{Headers: []chunk.Header{{Key: HeaderTopic, Value: []byte(topic)}, {Key: HeaderPartition, Value: []byte("-1")}, {Key: HeaderOffset, Value: []byte("3")}}}),
		ParseLetter(chunk.Record{Headers: []chunk.Header{{Key: HeaderPartition, Value: []byte("1")}, {Key: HeaderOffset, Value: []byte("3")}, {Key: HeaderTopic, Value: []byte(topic)}}}),
	} {
		if l.Named {
			t.Errorf("%+v names its original", l)
		}
	}
}
