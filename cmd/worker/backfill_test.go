package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"chunktide/backfill"
	"chunktide/configs"
	"chunktide/embedder"
)

// The throttle counts the encoder's own tokens, gives the same vectors, and
// waiting for it is a sign of life.
func TestThrottledEncodersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := embedder.NewBow("", nil)
		e := Throttled(plain, backfill.NewThrottle(2))
		start := time.Now()
		var last string
		for range 5 {
			last = "one two three four"
			got, err := e.Encode(t.Context(), []string{last, "five six"})
			if err != nil || len(got) != 2 || got[1].Tokens != 2 {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if took := time.Since(start); took < 13*time.Second || took > 15*time.Second {
			t.Errorf("30 tokens at 2/s took %s", took)
		}
		far, ok := e.(remote)
		if !ok || far.Activity() < 10 {
			t.Error("a wait is no sign of life")
		}
		if well, _, err := far.Healthy(); !well || err != nil {
			t.Errorf("%v, %v", well, err)
		}
		if e.Recipe().ModelVersion() != plain.Recipe().ModelVersion() {
			t.Error("the recipe is another")
		}
	})
}

func TestFromTopicEndsAndFills(t *testing.T) {
	cfg := configs.Default()
	cfg.Kafka.Topics, cfg.Kafka.Group, cfg.Kafka.InstanceID = []string{"docs"}, "live", "one"
	cfg.Backfill.Batch.Bytes = 100 << 20
	got := FromTopic(cfg, "own")
	if k := got.Kafka; k.Group != "own" || k.InstanceID != "" || !k.StopAtEnd || k.Start != "earliest" || k.Batch.Events != cfg.Backfill.Batch.Events || k.BufferBytes != 500<<20 {
		t.Errorf("%+v", k)
	}
	if err := got.Validate(configs.Kafka); err != nil {
		t.Error(err)
	}
}
