package consumer

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestStopAtEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.produce(t, 0, "a", "b", "c")
	w.produce(t, 1, "d")
	cfg := w.config()
	cfg.StopAtEnd = true
	s := w.open(t, cfg)
	w.produce(t, 0, "too late")
	w.produce(t, 2, "too late")
	var got []string
	for {
		b, err := s.Next(ctx(t))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, texts(b.Events)...)
		b.Ack()
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("read %v", got)
	}
	shut(t, s)
	if at := w.committed(t, 0); at != 3 {
		t.Errorf("committed %d, want the end of the range, 3", at)
	}
	// A second run with the group has nothing left of its first range.
	again := w.open(t, cfg)
	_, events := gather(t, again, 2)
	if got := texts(events); !slices.Equal(got, []string{"too late", "too late"}) {
		t.Errorf("the second run read %v", got)
	}
	if _, err := again.Next(ctx(t)); !errors.Is(err, io.EOF) {
		t.Errorf("the second run ends with %v", err)
	}
}

// A member without partitions does not end while another is at work, and takes
// over when that one goes.
func TestStopAtEndWaitsForOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "b")
	cfg := w.config()
	cfg.StopAtEnd = true
	first := w.open(t, cfg)
	gather(t, first, 2)
	second := w.open(t, cfg)
	eventually(t, "the second has joined", func() bool { return second.Assigned() != nil })
	c, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	if _, err := second.Next(c); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the spare member got %v while the other works", err)
	}
	shut(t, first) // without an acknowledgement
	batches, _ := gather(t, second, 2)
	for _, b := range batches {
		b.Ack()
	}
	if _, err := second.Next(ctx(t)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}
