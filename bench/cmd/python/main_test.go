package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// A ratio is taken within a round: a round in which the whole machine was slow
// does not count against whoever had its turn then.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	r := report{Texts: 10, Contenders: []result{
		{Name: "Python", turns: []turn{{10, .4}, {1, 4}, {10, .4}}},
		{Name: "worker", turns: []turn{{20, .2}, {2, 2}, {1, .8}}},
	}}
	r.settle()
	if c := r.Contenders[1]; c.Ratio != 2 || c.ProcessorRatio != 2 || c.TextsPerSecond != 2 {
		t.Errorf("%+v", c)
	}
	var out bytes.Buffer
	if r.print(&out); !strings.Contains(out.String(), "2.00x") {
		t.Error(out.String())
	}
	// Where processor time is not shown there is no ratio of it.
	r = report{Contenders: []result{{Name: "Python", turns: []turn{{10, 0}}}}}
	if r.settle(); r.Contenders[0].ProcessorRatio != 0 || r.Contenders[0].Ratio != 1 {
		t.Errorf("%+v", r.Contenders[0])
	}
}

func TestFlagsThatCannotMeasureAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-python", "python3", "-texts", "10"}, {"-python", "python3", "-rounds", "0"}, {"-python", "python3", "-o", "xml"},
	} {
		if err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "-python is needed") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestProcessorTimeOfNobodyIsZero(t *testing.T) {
	if got := processorTime(-1); got != 0 {
		t.Errorf("%v", got)
	}
	if got := processorTime(os.Getpid()); got < 0 {
		t.Errorf("%v", got)
	}
}
