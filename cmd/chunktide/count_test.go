package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"chunktide/backfill"
	"chunktide/consumer"
	"chunktide/deadletter"
	"chunktide/migrate"
	"chunktide/replay"
	"chunktide/sink"
	"chunktide/verify"
)

func TestNumbersHaveTheirNouns(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 workers, 0 wait", 1: "1 worker, 1 waits", 2: "2 workers, 2 wait", -1: "-1 workers, -1 wait"} {
		if got := numberOf(n, "worker") + ", " + oneOrMore(int(n), "waits", "wait"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// On no screen one thing stands in the plural, as it would without the helper.
func TestOneThingIsNoneInThePlural(t *testing.T) {
	t.Parallel()
	plural := regexp.MustCompile(`\b1 ((more|model) )?([a-z]+s|queries|are|were|have|wait)\b`)
	wrong := func(text string) (all []string) {
		for _, said := range plural.FindAllString(text, -1) {
			if word := said[strings.LastIndexByte(said, ' ')+1:]; word != "is" && word != "was" && word != "has" && word != "waits" {
				all = append(all, said)
			}
		}
		return all
	}
	if got := fmt.Sprint(wrong("1 workers, 1 record waits, 1 are, 1 more partitions, 11 records, 1 is")); got != "[1 workers 1 are 1 more partitions]" {
		t.Fatal(got)
	}
	collection := sink.Collection{Name: "c", Points: 1, Tombstones: 1, Groups: []string{"g"}}
	note := &verifyNote{Points: 1, Total: 1}
	letters := []deadletter.Letter{{Written: time.Now(), KeyBytes: 1, ValueBytes: 1, First: -1, Redriven: &deadletter.Redriven{}}}
	behind := make([]consumer.PartitionState, shownPartitions+1)
	for i := range behind {
		behind[i] = consumer.PartitionState{TopicPartition: consumer.TopicPartition{Topic: "docs", Partition: int32(i)}, Member: -1}
	}
	status := func(members int) func(*app) error {
		return func(a *app) error {
			r := statusReport{
				Index:      indexLook{Collection: &collection, Verified: note},
				Group:      groupLook{Name: "g", State: &consumer.GroupState{State: "Stable", Members: make([]consumer.Assigned, members), Partitions: behind, Lag: 1}},
				Migrations: migrationsLook{Running: []migrate.Status{{Found: migrate.Found{Collection: collection}, Lag: 1, Members: 1}}},
				Letters:    lettersLook{Letters: 1, Redriven: 1, Newest: &letters[0]},
			}
			for i := range r.Group.State.Partitions {
				r.Group.State.Partitions[i].Lag = 1
			}
			r.judge()
			return r.print(a.io.out)
		}
	}
	for name, print := range map[string]func(*app) error{
		"status": status(1), "status without workers": status(0),
		"status, one partition": func(a *app) error {
			r := statusReport{Group: groupLook{State: &consumer.GroupState{State: "Stable", Members: make([]consumer.Assigned, 1), Partitions: behind[:1]}}, Index: indexLook{Error: "x"}}
			r.Group.State.Partitions[0].Lag = 1
			r.judge()
			return r.print(a.io.out)
		},
		"index status": func(a *app) error {
			return a.printStatus(indexStatus{Collection: collection, Lag: map[string]int64{"g": 1}, Verified: note})
		},
		"index verify": func(a *app) error {
			r := verifyResult{Report: verify.Report{Points: 1, Living: 1, Newer: 1, Ahead: 1, Forgotten: 1, Pending: 1, Sampled: 1}}
			r.Events, r.Malformed, r.Refused = 1, 1, 1
			return a.printVerify(r, 1)
		},
		"migrate status": func(a *app) error {
			return a.printMigrations([]migrate.Status{{Found: migrate.Found{Collection: collection}, Old: &collection, Lag: 1, OldLag: 1, Members: 1}})
		},
		"migrate rollback": func(a *app) error { return a.printRolled("i", migrate.Rolled{Lag: 1}) },
		"dlq list": func(a *app) error {
			return a.printLetters(lettersListed{Letters: 1, Foreign: 1, Records: letters}, true)
		},
		"dlq explain": func(a *app) error {
			return a.printExplained(letterExplained{Verdict: deadletter.Verdict{Letter: letters[0]}})
		},
		"dlq redrive": func(a *app) error { return a.printRedriven(redriven{Sent: 1, Left: 1}) },
		"backfill": func(a *app) error {
			reading := backfill.Reading{Counts: backfill.Counts{Events: 1, Stored: 1, Encoded: 1, Tokens: 1}}
			fmt.Fprintln(a.io.out, progressLine(reading, false))
			return a.printBackfill(backfillResult{Rows: 1, Reading: reading}, false)
		},
		"backfill --dry-run": func(a *app) error {
			return a.printSurvey(&survey{Effect: replay.Effect{Records: 1, Events: 1, Adds: 1, Edits: 1, Deletes: 1, ModelCalls: 1, Tokens: 1}, Texts: 1, TextTokens: 1}, false)
		},
		"model compare": func(a *app) error {
			return a.printComparison(comparison{Passages: 1, Queries: 1, Rounds: 1, Models: make([]compared, 1)})
		},
		"why": func(a *app) error {
			(&pointExplained{Record: sink.Record{Tokens: 1}, Values: 2}).print(func(name, format string, args ...any) { fmt.Fprintf(a.io.out, name+format+"\n", args...) })
			return nil
		},
		"replay": func(a *app) error {
			fmt.Fprintln(a.io.out, inTheWay("g", make([]consumer.Member, 1)))
			return nil
		},
	} {
		var out strings.Builder
		if err := print(&app{io: stdio{out: &out, err: &out}}); err != nil || out.Len() == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if all := wrong(out.String()); len(all) > 0 {
			t.Errorf("%s says %q:\n%s", name, all, out.String())
		}
	}
}
