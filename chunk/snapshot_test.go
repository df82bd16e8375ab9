package chunk

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// behind decodes with the setting, under source.lsn.
func behind(t testing.TB, b SnapshotBehind) *Decoder {
	t.Helper()
	return decoder(t, func(c *DecoderConfig) { c.DefaultSource, c.Debezium.SnapshotBehind = "s", b })
}

func TestOnlyRowsOfSnapshotsAreBehind(t *testing.T) {
	row := `{"document_id":"d","chunk_id":"c","text":"x"}`
	envelope := `{"before":null,"after":` + row + `,"op":%q,"source":{"lsn":%d,"snapshot":"incremental"}}`
	shapes := map[string]string{
		"envelope":            envelope,
		"with its schema":     `{"schema":{"type":"struct"},"payload":` + envelope + `}`,
		"in a CloudEvent":     `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":` + envelope + `}`,
		"flattened":           `{"document_id":"d","chunk_id":"c","text":"x","__op":%q,"__source_lsn":%d,"__deleted":"false"}`,
		"flattened, in short": `{"document_id":"d","chunk_id":"c","text":"x","__op":%q,"__lsn":%d}`,
	}
	for _, tt := range []struct {
		op        string
		version   Version
		behind    SnapshotBehind
		want      Version
		emptyText bool
	}{
		{op: "r", version: 100, behind: 0, want: 100},
		{op: "r", version: 100, behind: 1, want: 99},
		{op: "r", version: 100, behind: 99, want: 1},
		{op: "r", version: 100, behind: 100, want: 1},
		{op: "r", version: 100, behind: BehindAll, want: 1},
		{op: "r", version: 1, behind: 1, want: 1},
		{op: "r", version: MaxVersion, behind: 1, want: MaxVersion - 1},
		{op: "r", version: MaxVersion, behind: BehindAll, want: 1},
		{op: "c", version: 100, behind: 10, want: 100},
		{op: "u", version: 100, behind: BehindAll, want: 100},
		{op: "r", version: 100, behind: 10, want: 90, emptyText: true}, // it deletes
	} {
		for shape, value := range shapes {
			value = fmt.Sprintf(value, tt.op, tt.version)
			want := Upsert
			if tt.emptyText {
				value, want = strings.Replace(value, `"x"`, `""`, 1), Delete
			}
			d := behind(t, tt.behind)
			got, err := d.Decode(rec(value))
			if err != nil || len(got) != 1 || got[0].Version != tt.want || got[0].Op != want {
				t.Errorf("%s, op %s at %d, %d behind: %+v, %v; want %s at %d", shape, tt.op, tt.version, tt.behind, got, err, want, tt.want)
			}
			// A file of such events is the same to a backfill and to verify.
			got, err = d.DecodeRow(Row{Value: []byte(value), AsOf: 5})
			if err != nil || len(got) != 1 || got[0].Version != tt.want {
				t.Errorf("%s as a row, op %s at %d, %d behind: %+v, %v; want %d", shape, tt.op, tt.version, tt.behind, got, err, tt.want)
			}
		}
	}
}

// Versions that do not come from the log are left alone, and what is refused
// without the setting is refused with it.
func TestWhatHasNoPositionIsNotBehind(t *testing.T) {
	fallback := Version(recordTime.UnixMilli())*4096 + 5
	for name, tt := range map[string]struct {
		value string
		want  Version
	}{
		"no version":            {`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{}}`, fallback},
		"no version, flattened": {`{"document_id":"d","chunk_id":"c","text":"x","__op":"r"}`, fallback},
		"a native event":        {`{"op":"r","document_id":"d","chunk_id":"c","text":"x","version":100}`, 100},
		"a delete":              {`{"before":{"document_id":"d","chunk_id":"c"},"after":null,"op":"d","source":{"lsn":100}}`, 100},
		"a delete, flattened":   {`{"document_id":"d","chunk_id":"c","__deleted":"true","__lsn":100}`, 100},
		// Debezium 3.3 has no position in the rows of incremental snapshots.
		"null":             {`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"snapshot":"incremental","lsn":null}}`, 1},
		"null, flattened":  {`{"document_id":"d","chunk_id":"c","text":"x","__op":"r","__source_lsn":null}`, 1},
		"null of a change": {`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"u","source":{"lsn":null}}`, 0},
		"null of a delete": {`{"before":{"document_id":"d","chunk_id":"c"},"after":null,"op":"d","source":{"lsn":null}}`, 0},
		"0":                {`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"lsn":0}}`, 0},
		"beyond 2^53":      {`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"lsn":9007199254740992}}`, 0},
		// Nothing says whether it is of a snapshot: taken for a change, a row of one
		// would win as it does without the setting.
		"flattened without op": {`{"document_id":"d","chunk_id":"c","text":"x","__deleted":"false","__lsn":100}`, 0},
	} {
		got, err := behind(t, BehindAll).Decode(rec(tt.value))
		switch reason, _ := ReasonOf(err); {
		case tt.want == 0 && reason != ReasonBadVersion:
			t.Errorf("%s: %+v, %v; want %s", name, got, err, ReasonBadVersion)
		case tt.want > 0 && (err != nil || len(got) != 1 || got[0].Version != tt.want):
			t.Errorf("%s: %+v, %v; want version %d", name, got, err, tt.want)
		}
	}
	// A number says nothing of where a row without a position belongs.
	for _, b := range []SnapshotBehind{0, 1000, BehindAll - 1} {
		got, err := behind(t, b).Decode(rec(`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"lsn":null}}`))
		if reason, _ := ReasonOf(err); reason != ReasonBadVersion || !strings.Contains(err.Error(), "snapshot_behind") {
			t.Errorf("null, %d behind: %+v, %v; want %s", b, got, err, ReasonBadVersion)
		}
	}
	// Control: without the setting nobody asks for the operation.
	got, err := behind(t, 0).Decode(rec(`{"document_id":"d","chunk_id":"c","text":"x","__deleted":"false","__lsn":100}`))
	if err != nil || len(got) != 1 || got[0].Version != 100 {
		t.Errorf("flattened without op, and without the setting: %+v, %v", got, err)
	}
}

// Of the captured records the first two are of the snapshot.
func TestGoldenSnapshotIsBehind(t *testing.T) {
	const reach = 1000
	records := goldens(t)
	for i, want := range goldenWant() {
		got, err := behind(t, reach).Decode(records[i])
		if i < 2 {
			want.Version -= reach
		}
		if err != nil || len(got) != 1 || got[0].Version != want.Version {
			t.Errorf("record %d: %+v, %v; want version %d", i, got, err, want.Version)
		}
	}
}

// change is what a topic says of a row. lsn is where it stands in the log; the
// topic has it when the transaction is committed, perhaps long after.
type change struct {
	op        string
	lsn       int
	key, text string
	oldKey    string // of a row that got another key
}

func (c change) value() string {
	row := func(key, text string) string {
		if key == "" {
			return "null"
		}
		return fmt.Sprintf(`{"document_id":"d","chunk_id":%q,"text":%q}`, key, text)
	}
	before, after := row(c.oldKey, "x"), row(c.key, c.text)
	if c.op == "d" {
		before, after = after, "null"
	}
	return fmt.Sprintf(`{"before":%s,"after":%s,"op":%q,"source":{"lsn":%d}}`, before, after, c.op, c.lsn)
}

// index folds events as the fence does: the highest version of each id stays,
// and of equal ones the first.
func index(t *testing.T, d *Decoder, topic []change) map[string]string {
	t.Helper()
	states := map[ID]Event{}
	for _, c := range topic {
		events, err := d.Decode(rec(c.value()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Version > states[e.ID].Version {
				states[e.ID] = e
			}
		}
	}
	living := map[string]string{}
	for _, e := range states {
		if e.Op == Upsert {
			living[e.ChunkID] = e.Text
		}
	}
	return living
}

// The cases of docs/CDC.md. The snapshot is at 100. A transaction was open then
// that had changed rows from 90 on, and was committed afterwards.
func TestSnapshotsBesideAnOpenTransaction(t *testing.T) {
	read := func(lsn int, key, text string) change { return change{op: "r", lsn: lsn, key: key, text: text} }
	update := func(lsn int, key, text string) change { return change{op: "u", lsn: lsn, key: key, text: text} }
	remove := func(lsn int, key string) change { return change{op: "d", lsn: lsn, key: key} }
	type state = map[string]string
	for name, tt := range map[string]struct {
		topic []change
		want  state
		// right are the settings under which the index is the table, wrong those
		// under which it is not: the controls.
		right, wrong []SnapshotBehind
	}{
		"an update": {
			[]change{read(100, "c", "old"), update(90, "c", "new")}, state{"c": "new"},
			[]SnapshotBehind{11, 50, BehindAll}, []SnapshotBehind{0, 9, 10},
		},
		"a delete": {
			[]change{read(100, "c", "old"), remove(90, "c")}, state{},
			[]SnapshotBehind{11, BehindAll}, []SnapshotBehind{0, 10},
		},
		"another key": {
			[]change{read(100, "c", "x"), {op: "u", lsn: 90, key: "k", text: "x", oldKey: "c"}}, state{"k": "x"},
			[]SnapshotBehind{11, BehindAll}, []SnapshotBehind{0, 10},
		},
		"several changes, some below the snapshot": {
			[]change{read(100, "c", "old"), update(90, "c", "1"), remove(95, "c"), {op: "c", lsn: 97, key: "c", text: "2"}}, state{"c": "2"},
			[]SnapshotBehind{11, 4, BehindAll}, []SnapshotBehind{0, 3},
		},
		"a row that nobody changed": {
			[]change{read(100, "c", "old")}, state{"c": "old"}, []SnapshotBehind{0, 11, BehindAll}, nil,
		},
		"the topic read again": {
			[]change{read(100, "c", "old"), update(90, "c", "new"), remove(120, "b"), read(100, "c", "old"), read(100, "b", "b"), update(90, "c", "new")},
			state{"c": "new"}, []SnapshotBehind{11, BehindAll}, []SnapshotBehind{0},
		},
		// An incremental snapshot beside the stream, which has every change.
		"a second snapshot without a gap": {
			[]change{read(100, "c", "old"), update(150, "c", "1"), read(200, "c", "1"), update(190, "c", "2"), remove(195, "b"), read(200, "a", "a")},
			state{"a": "a", "c": "2"}, []SnapshotBehind{11, BehindAll}, []SnapshotBehind{0, 10},
		},
		// The slot was lost at 150, and the new one was made at 300, when there was
		// an open transaction again. What lies between was never streamed.
		"a second snapshot behind a gap": {
			[]change{
				read(100, "a", "old"), read(100, "c", "old"), update(150, "c", "1"), remove(150, "e"),
				read(310, "a", "1"), read(310, "c", "2"), read(310, "e", "again"), update(305, "c", "3"),
			},
			state{"a": "1", "c": "3", "e": "again"},
			[]SnapshotBehind{6, 100, 159}, []SnapshotBehind{0, 5, 160, BehindAll},
		},
	} {
		for i, b := range append(tt.right, tt.wrong...) {
			got := index(t, behind(t, b), tt.topic)
			if equal := reflect.DeepEqual(got, tt.want); equal != (i < len(tt.right)) {
				t.Errorf("%s, %d behind: %v, the table has %v", name, b, got, tt.want)
			}
		}
	}
}

func TestSnapshotBehindIsANumberOrAll(t *testing.T) {
	for text, want := range map[string]SnapshotBehind{"0": 0, "16777216": 1 << 24, "all": BehindAll, "9007199254740991": BehindAll} {
		var b SnapshotBehind
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %d, %v; want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "none", "1.5", "16MiB", "99999999999999999999"} {
		var b SnapshotBehind
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d", text, b)
		}
	}
	for name, change := range map[string]func(*DecoderConfig){
		"below 0":           func(c *DecoderConfig) { c.Debezium.SnapshotBehind = -1 },
		"beyond versions":   func(c *DecoderConfig) { c.Debezium.SnapshotBehind = BehindAll + 1 },
		"with a column":     func(c *DecoderConfig) { c.Debezium.SnapshotBehind, c.Debezium.Version = 1, "column:version" },
		"with record times": func(c *DecoderConfig) { c.Debezium.SnapshotBehind, c.Versions = 1, VersionsRecord },
	} {
		cfg := DefaultDecoderConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "debezium.snapshot_behind: ") {
			t.Errorf("%s: %v, want it refused", name, err)
		}
		cfg.Debezium.SnapshotBehind = 0
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s, control: %v", name, err)
		}
	}
}

// The setting changes versions, of snapshots, downwards, and nothing else.
func FuzzSnapshotBehind(f *testing.F) {
	for _, r := range goldens(f) {
		f.Add(r.Key, r.Value, int64(1000))
		f.Add(r.Key, r.Value, int64(BehindAll))
		if r.Value != nil {
			f.Add(r.Key, flatten(f, r.Value), int64(1))
		}
	}
	f.Add([]byte(nil), []byte(`{"before":{"document_id":"d","chunk_id":"b"},"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"lsn":1}}`), int64(1))
	f.Add([]byte(nil), []byte(`{"document_id":"d","chunk_id":"c","text":"x","__lsn":9}`), int64(3))
	f.Add([]byte(nil), []byte(`{"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"lsn":null}}`), int64(BehindAll))
	plain := behind(f, 0)
	f.Fuzz(func(t *testing.T, key, value []byte, n int64) {
		b := SnapshotBehind(n)
		if b < 0 || b > BehindAll {
			return
		}
		r := Record{Origin: Origin{Topic: "t"}, Timestamp: recordTime, Key: key, Value: value}
		want, err := plain.Decode(r)
		got, lowered := behind(t, b).Decode(r)
		if err != nil || lowered != nil {
			if lowered == nil && (b != BehindAll || len(got) == 0 || got[0].Version != 1 || !strings.Contains(err.Error(), "is null")) {
				t.Fatalf("taken with %d behind, refused without: %v", b, err)
			}
			if err == nil && !strings.Contains(lowered.Error(), "__op is missing") {
				t.Fatalf("refused with %d behind: %v", b, lowered)
			}
			return
		}
		for i := range got {
			checkEvent(t, &got[i])
			if v := want[i].Version; got[i].Version != v {
				if got[i].Version != max(1, v-Version(b)) {
					t.Errorf("version %d became %d with %d behind", v, got[i].Version, b)
				}
				got[i].Version = v
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("with %d behind:\n got %+v\nwant %+v", b, got, want)
		}
	})
}
