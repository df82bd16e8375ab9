package backfill

import (
	"testing"
	"time"

	"chunktide/chunk"
)

func TestAsOfLiesBelowEveryChangeSince(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	at := now.Add(-time.Hour)
	got, err := ParseAsOf(at.Format(time.RFC3339), now)
	if err != nil || !got.Time.Equal(at) {
		t.Fatalf("%+v, %v", got, err)
	}
	// The first change that can have happened, and the last one before.
	next, _ := chunk.FallbackVersion(at, 0)
	before, _ := chunk.FallbackVersion(at.Add(-time.Millisecond), 4095)
	if got.Version >= next || got.Version < before {
		t.Errorf("version %d, want it in %d … %d", got.Version, before, next-1)
	}
	if got, err := ParseAsOf("123", now); err != nil || got != (AsOf{Version: 123}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseAsOf("", now); err != nil || got != (AsOf{}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"0", "-1", "now", "2026-05-01", "9007199254740992", now.Add(time.Second).Format(time.RFC3339), "1960-01-01T00:00:00Z", "2040-01-01T00:00:00Z"} {
		if got, err := ParseAsOf(bad, now); err == nil {
			t.Errorf("%s became %+v", bad, got)
		}
	}
}

func TestATimeDoesNotMixWithCounters(t *testing.T) {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	byTime, err := ParseAsOf(at.Format(time.RFC3339), at)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := chunk.FallbackVersion(at.AddDate(-10, 0, 0), 0)
	for _, held := range []chunk.Version{old, byTime.Version + 1} {
		if err := byTime.Fits(held); err != nil {
			t.Errorf("%d: %v", held, err)
		}
	}
	for _, held := range []chunk.Version{17, 26_000_000, chunk.Version(at.UnixMilli()), chunk.Version(at.UnixMicro())} {
		if byTime.Fits(held) == nil {
			t.Errorf("%d was taken for a time", held)
		}
		if err := (AsOf{Version: 16}).Fits(held); err != nil {
			t.Errorf("a counter over %d: %v", held, err)
		}
	}
}
