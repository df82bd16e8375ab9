package chaos

import (
	"context"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestASeedIsASchedule(t *testing.T) {
	plan := FullPlan()
	a, b, c := newSchedule(1, plan, 110_000), newSchedule(1, plan, 110_000), newSchedule(2, plan, 110_000)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed made two schedules")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("two seeds made one schedule")
	}
}

func TestScheduleHasThePlansCountsInOrder(t *testing.T) {
	plan, records := FullPlan(), 110_000
	plan.Faults[KillQdrant] = 5
	counts := map[Kind]int{}
	for l, faults := range newSchedule(3, plan, records) {
		if !slices.IsSortedFunc(faults, func(a, b Fault) int { return a.At - b.At }) {
			t.Errorf("lane %s is out of order", l)
		}
		for _, f := range faults {
			counts[f.Kind]++
			if f.At < 1 || f.At >= records || f.Worker < 0 || f.Worker >= plan.Workers || f.Behind >= f.At || f.Behind < 1 {
				t.Errorf("%+v is out of bounds", f)
			}
			for _, share := range f.Shares {
				if share < 0 || share > 1 {
					t.Errorf("share %v", share)
				}
			}
		}
	}
	if !maps.Equal(counts, plan.Faults) {
		t.Errorf("counts %v, want %v", counts, plan.Faults)
	}
}

func TestSoakPlacesWhatChangesSizesOutsideOfItsWindows(t *testing.T) {
	const records = 50_000
	counts := map[Kind]int{}
	for _, faults := range newSchedule(4, soakPlan(30*time.Minute), records) {
		for _, f := range faults {
			counts[f.Kind]++
			at := float64(f.At) / records
			switch f.Kind { //nolint:exhaustive // the others are free
			case KillRedis, FlushRedis, KillBroker, StopBroker:
				if at > warm().From && at < warm().To || at > last().From {
					t.Errorf("%s at %.2f", f.Kind, at)
				}
			case KillWorker, FreezeWorker:
				if f.Worker < 2 {
					t.Errorf("%s hits a worker that is measured", f)
				}
			}
		}
	}
	for _, kind := range Kinds() {
		// Killing Qdrant needs one that remembers; a reset ends all workers.
		if counts[kind] == 0 && kind != KillQdrant && kind != ResetOffsets {
			t.Errorf("a soak has no %s", kind)
		}
	}
}

func TestStreamAndFaultsWaitForEachOther(t *testing.T) {
	schedule := Schedule{workerLane: {{At: 3}, {At: 5}}, redisLane: {{At: 4}}}
	s := newStage(schedule)
	ctx := t.Context()
	room := func() int {
		limit, err := s.room(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return limit
	}
	if got := room(); got != 3 {
		t.Errorf("the stream may go to %d, want 3", got)
	}
	s.publish(3)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.room(ended); err == nil {
		t.Error("the stream passed a fault that has not begun")
	}
	if err := s.begin(ended, redisLane, schedule[redisLane]); err == nil {
		t.Error("a fault began before its place")
	}
	if err := s.begin(ctx, workerLane, schedule[workerLane]); err != nil {
		t.Fatal(err)
	}
	if got := room(); got != 4 {
		t.Errorf("the stream may go to %d, want 4", got)
	}
	s.publish(5)
	for l, rest := range map[lane][]Fault{redisLane: schedule[redisLane], workerLane: schedule[workerLane][1:]} {
		if err := s.begin(ctx, l, rest); err != nil {
			t.Fatal(err)
		}
	}
	if got := room(); got != math.MaxInt {
		t.Errorf("the stream may go to %d, want its end", got)
	}
}
