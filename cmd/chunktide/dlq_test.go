package main

import (
	"strings"
	"testing"

	"chunktide/chunk"
	"chunktide/deadletter"
	"chunktide/migrate"
	"chunktide/sink"
)

// What went to the dead letters for a setting is redriven once that is mended,
// and a real worker brings it into the index; what came since is not replaced.
func TestRedrivenLettersReachTheIndex(t *testing.T) {
	d := newDesk(t)
	strict := []string{"run", "--set", "kafka.stop_at_end=true", "--set", "events.limits.text_bytes=20"}
	long := strings.Repeat("long ", 10)
	event := func(name, text, version string) string {
		return `{"op":"upsert","document_id":"d","chunk_id":"` + name + `","text":"` + text + `","version":` + version + "}\n"
	}
	d.must(event("a", long, "1")+event("b", long, "1")+event("c", "short", "1"), "publish")
	d.must("", strict...)
	d.must(event("b", "newer", "2"), "publish")
	d.must("", strict...)
	if n := len(d.points(d.index)); n != 2 {
		t.Fatalf("%d points, want those of b and c", n)
	}

	listed := decodeJSON[lettersListed](t, d.must("", "dlq", "list", "-o", "json", "--records"))
	if listed.Letters != 2 || listed.Groups[0].Reason != "too_large" || listed.Groups[0].Letters != 2 || len(listed.Records) != 2 {
		t.Fatalf("%+v", listed)
	}
	out := d.must("", "dlq", "list")
	if !strings.Contains(out, "too_large  2        0") {
		t.Error(out)
	}
	place := listed.Records[0].Place.String()
	explained := d.must("", "dlq", "explain", place)
	for _, want := range []string{"over one of the limits", "cut the text into smaller chunks", "which is still there", "would send it"} {
		if !strings.Contains(explained, want) {
			t.Errorf("explain lacks %q: %s", want, explained)
		}
	}
	// Without being asked nothing tells the text.
	for _, out := range []string{explained, out, d.must("", "dlq", "list", "--records"), d.must("", "dlq", "explain", place, "-o", "json"),
		d.must("", "dlq", "redrive"), d.must("", "dlq", "redrive", "-o", "json")} {
		if strings.Contains(out, long) {
			t.Errorf("the text is told: %s", out)
		}
	}
	if out := d.must("", "dlq", "explain", place, "--text"); !strings.Contains(out, long) {
		t.Errorf("asked for the text, and told %s", out)
	}

	// Under the settings that refused them they would be refused again.
	code, out, _ := d.do("", "dlq", "redrive", "--all", "--yes", "--set", "events.limits.text_bytes=20")
	if code != exitFailed || strings.Count(out, "refused again (too_large)") != 2 {
		t.Errorf("exit %d: %s", code, out)
	}
	dry := decodeJSON[redriven](t, d.must("", "dlq", "redrive", "--reason", "too_large", "-o", "json"))
	if !dry.DryRun || dry.Sent != 2 || dry.Letters[0].Sent {
		t.Errorf("%+v", dry)
	}
	d.catchUp()
	if n := len(d.points(d.index)); n != 2 {
		t.Errorf("after a dry run there are %d points", n)
	}
	if done := decodeJSON[redriven](t, d.must("", "dlq", "redrive", "--reason", "too_large", "--since", "-1h", "--yes", "-o", "json")); done.Sent != 2 || done.Left != 0 {
		t.Errorf("%+v", done)
	}
	d.catchUp()
	texts := map[string]bool{}
	for _, p := range d.scroll(d.index) {
		texts[p.GetPayload()["text"].GetStringValue()] = true
	}
	if len(texts) != 3 || !texts[long] || !texts["newer"] || !texts["short"] {
		t.Errorf("the index holds %v", texts)
	}
	if again := decodeJSON[redriven](t, d.must("", "dlq", "redrive", "--all", "--yes", "-o", "json")); again.Sent != 0 || again.Left != 2 {
		t.Errorf("%+v", again)
	}
	if out := d.must("", "dlq", "explain", place); !strings.Contains(out, "redriven    on ") {
		t.Error(out)
	}
	// The marker is no letter to a verify either.
	d.must("", "index", "verify")

	// One that fails again is a new letter, and tells which it was.
	d.must(event("e", long, "1"), "publish")
	d.must("", strict...)
	d.must("", "dlq", "redrive", "--all", "--yes")
	d.must("", strict...)
	listed = decodeJSON[lettersListed](t, d.must("", "dlq", "list", "-o", "json", "--records"))
	if last := listed.Records[len(listed.Records)-1]; last.From == "" || last.Redriven != nil || listed.Letters != 4 {
		t.Errorf("%d letters, the last %+v", listed.Letters, last)
	}
}

func TestDLQIsCalledWrongly(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"name a command", []string{}},
		{"say which letters", []string{"redrive", "--yes"}},
		{"give one of them", []string{"redrive", "--yes", "--dry-run", "--all"}},
		{"give one of them", []string{"redrive", "--all", "--reason", "too_large"}},
		{"no worker gives", []string{"list", "--reason", "nonsense"}},
		{"--since", []string{"list", "--since", "yesterday"}},
		{"--until", []string{"list", "--until", "2h"}},
		{"no letter lies between", []string{"list", "--since", "-1h", "--until", "-2h"}},
		{"--offset", []string{"redrive", "--offset", "17"}},
		{"partition:offset", []string{"explain", "17"}},
		{"accepts 1 arg", []string{"explain"}},
	} {
		if code, _, errs := d.do("", append([]string{"dlq"}, c.args...)...); code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit %d, %s; want %q", c.args, code, errs, c.want)
		}
	}
	if code, _, errs := d.do("", "dlq", "explain", "0:99"); code != exitFailed || !strings.Contains(errs, "no dead letter at 0:99") {
		t.Errorf("exit %d, %s", code, errs)
	}
	for _, args := range [][]string{{"redrive", "--offset", "0:99"}, {"redrive", "--offset", "99:0-4", "--yes"}, {"list", "--offset", "99:0"},
		{"list", "--offset", "99:0-"}, {"redrive", "--offset", "99:0-", "--yes"}, {"list", "--offset", "0:0-", "--set", "kafka.dead_letter_topic=nowhere"}} {
		if code, out, errs := d.do("", append([]string{"dlq"}, args...)...); code != exitFailed || out != "" || !strings.Contains(errs, "no dead letter at") || strings.Contains(errs, "would be sent") {
			t.Errorf("%q: exit %d, %s%s", args, code, out, errs)
		}
	}
	d.must("", "dlq", "list", "--offset", "0:99-") // none yet
	// A topic that does not exist holds no letters.
	none := decodeJSON[lettersListed](t, d.must("", "dlq", "list", "-o", "json", "--set", "kafka.dead_letter_topic=nowhere"))
	if none.Letters != 0 || none.Topic != "nowhere" || len(none.Groups) != 0 {
		t.Errorf("%+v", none)
	}
	d.must("", "dlq", "redrive", "--all", "--yes", "--set", "kafka.dead_letter_topic=nowhere")
	if got := (deadletter.Place{Partition: 1, Offset: 2}).String(); got != "1:2" {
		t.Error(got)
	}
}

// Anyone who may write to a topic chooses headers and texts: they must not be
// commands to the terminal of whoever looks.
func TestForeignTextIsNoCommand(t *testing.T) {
	const command = "x\x1b[2J\x07"
	origin := deadletter.Original{Topic: command}
	letter := deadletter.Letter{
		Reason: command, Stage: command, Message: command, Key: command, Omitted: command, From: command, Original: origin,
		Redriven: &deadletter.Redriven{To: origin},
	}
	if strings.ContainsRune(printable(command), '\x1b') {
		t.Error("printable leaves it")
	}
	verdict := deadletter.Verdict{Letter: letter, Why: command}
	var migrated migrate.Status
	migrated.From = command
	group := deadletter.Group{Reason: command, Stages: []string{command}, Topics: []string{command}}
	for name, print := range map[string]func(*app) error{
		"list":    func(a *app) error { return a.printLetters(lettersListed{Groups: []deadletter.Group{group}}, false) },
		"records": func(a *app) error { return a.printLetters(lettersListed{Records: []deadletter.Letter{letter}}, true) },
		"redrive": func(a *app) error { return a.printRedriven(redriven{Letters: []deadletter.Verdict{verdict}}) },
		"explain": func(a *app) error { return a.printExplained(letterExplained{Verdict: verdict}) },
		// Not only headers: texts, names and errors come from others too.
		"search": func(a *app) error {
			return a.printHits([]sink.Hit{{Record: sink.Record{DocumentID: command, Text: command}}})
		},
		"dry run":  func(a *app) error { return a.printSurvey(&survey{Examples: []string{command}}, false) },
		"backfill": func(a *app) error { return a.printBackfill(backfillResult{Collection: command}, false) },
		"promote": func(a *app) error {
			return a.printPromotion(migrate.Promotion{Gates: []migrate.Gate{{Detail: command}}})
		},
		"migrations": func(a *app) error { return a.printMigrations([]migrate.Status{migrated}) },
	} {
		var out strings.Builder
		if err := print(&app{io: stdio{out: &out, err: &out}}); err != nil || !strings.Contains(out.String(), "x") || strings.ContainsAny(out.String(), "\x1b\x07") {
			t.Errorf("%s: %v, %q", name, err, out.String())
		}
	}
}

// Where there is no text to show, it is said why.
func TestExplainSaysWhyThereIsNoText(t *testing.T) {
	t.Parallel()
	at := deadletter.Original{Topic: "docs", Partition: 1, Offset: 5}
	for name, c := range map[string]struct {
		letter deadletter.Letter
		lies   bool
		value  []byte
		want   string
	}{
		"whole":      {deadletter.Letter{First: -1}, true, []byte("the text"), `"the text"`},
		"empty":      {deadletter.Letter{First: -1}, true, []byte{}, `""`},
		"cut":        {deadletter.Letter{First: -1, Omitted: "value 70 bytes", Original: at}, true, nil, "left out (value 70 bytes), since the topic of the dead letters takes no record so large; the original, docs 1:5, still has it"},
		"cut, gone":  {deadletter.Letter{First: -1, Omitted: "value 70 bytes", Original: at}, false, nil, "the original, docs 1:5, is gone, too"},
		"tombstone":  {deadletter.Letter{First: -1, Tombstone: true}, true, nil, "a tombstone, which has no value"},
		"bomb":       {deadletter.Letter{First: 3, Omitted: "a record batch"}, true, nil, "kafka.decompress_max_bytes"},
		"by another": {deadletter.Letter{First: -1, Omitted: "x\x1b[2J"}, true, nil, "left out (x\ufffd[2J), since"},
	} {
		for _, asked := range []bool{true, false} {
			e := letterExplained{Verdict: deadletter.Verdict{Letter: c.letter}, OriginalLies: c.lies}
			if asked {
				e.show(chunk.Record{Value: c.value})
			}
			var out strings.Builder
			if err := (&app{io: stdio{out: &out}}).printExplained(e); err != nil || strings.Contains(out.String(), c.want) != asked {
				t.Errorf("%s, asked for the text: %v; %v, %s", name, asked, err, out.String())
			}
			if asked && (e.NoValue == "") != (e.Value != nil) {
				t.Errorf("%s: JSON has %v and %q", name, e.Value, e.NoValue)
			}
		}
	}
}
