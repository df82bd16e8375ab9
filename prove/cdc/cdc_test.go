//go:build cdc

package cdc

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"chunktide/devstack/realservers"
)

// bigText is stored out of line (TOAST): an update that leaves it alone does
// not have it in PostgreSQL's log.
func bigText(word string) string {
	var b strings.Builder
	rng := rand.New(rand.NewPCG(1, uint64(len(word))))
	for b.Len() < 20_000 {
		fmt.Fprintf(&b, "%s %x ", word, rng.Uint64())
	}
	return b.String()
}

// churn is a script of random changes, each a transaction.
func churn(n int) string {
	var b strings.Builder
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range n {
		id := rng.IntN(600)
		switch rng.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "DELETE FROM chunks WHERE document_id = 'd%d' AND chunk_id = 'c%d';\n", id%20, id)
		case 1:
			fmt.Fprintf(&b, "UPDATE chunks SET text = NULL WHERE document_id = 'd%d' AND chunk_id = 'c%d';\n", id%20, id)
		default:
			fmt.Fprintf(&b, `INSERT INTO chunks (document_id, chunk_id, text) VALUES ('d%d', 'c%d', 'text %d')
				ON CONFLICT (document_id, chunk_id) DO UPDATE SET text = EXCLUDED.text;`+"\n", id%20, id, i)
		}
	}
	return b.String()
}

// The walk-through of docs/CDC.md. One worker takes the versions from the column
// that the trigger fills, as deploy/cdc says. The others take them from the log:
// two with a snapshot_behind that covers the transaction that was open while the
// snapshot was taken, and one, the control, without: it must miss the change
// of that transaction.
func TestTheIndexEqualsTheTable(t *testing.T) {
	l := newLine(t)
	l.sql("INSERT INTO chunks (document_id, chunk_id, position, text, metadata) " +
		"SELECT 'd' || i % 20, 'c' || i, i, 'first text ' || i, '{\"lang\": \"en\"}' FROM generate_series(0, 499) i")
	l.sql("INSERT INTO chunks (document_id, chunk_id, text) VALUES ('slow', 'open', 'old'), ('slow', 'gone', 'g'), ('slow', 'a', 'a'), ('slow', 'b', 'b'), " +
		"('big', 'edited', '" + bigText("one") + "'), ('big', 'kept', '" + bigText("two") + "'), ('big', 'moved', '" + bigText("three") + "')")

	// By which Debezium is told to take an incremental snapshot.
	l.sql("CREATE TABLE signals (id text PRIMARY KEY, type text, data text)", "ALTER PUBLICATION chunks ADD TABLE signals", "GRANT ALL ON signals TO debezium")

	open, connect, reach := l.snapshotWhileOpen()
	const lsn, behind = "events.debezium.version=source.lsn", "events.debezium.snapshot_behind="
	byColumn, byLog := l.work("column"), l.work("log", lsn)
	byReach, byAll := l.work("reach", lsn, behind+reach), l.work("all", lsn, behind+"all")
	right := []*index{byColumn, byReach, byAll}
	for _, x := range append(right, byLog) {
		l.wait("the snapshot is in the index "+x.cfg.Qdrant.Index, func() bool { return x.holds()["slow/open"].Text == "old" })
	}
	open.do("COMMIT;")
	level(right, "after the snapshot")
	byLog.done()
	// The tombstone behind a delete ends what precedes it, whatever its version.
	if got := difference(l.table(), byLog.holds()); !reflect.DeepEqual(got, []string{"slow/open"}) {
		t.Errorf("control: by the log's positions %q differ, want slow/open", got)
	}
	// Nothing shows it as long as the snapshot's rows have the versions that they
	// have. With others, what was missed is found, and mended.
	if out, err := byLog.verify(); err != nil {
		t.Errorf("control: verify shows what goes by the same versions: %v: %s", err, out)
	}
	if out, err := byLog.verify("--set", behind+"all"); err == nil || !strings.Contains(out, "slow/open") {
		t.Errorf("verify does not show the chunk that was missed: %v: %s", err, out)
	}
	if out, err := byLog.verify("--set", behind+"all", "--repair", "--yes"); err != nil {
		t.Errorf("the repair: %v: %s", err, out)
	}
	byLog.level("after a repair")

	l.change()
	level(right, "after all kinds of changes")

	// A key that changes while a big text does not: the new row comes without its
	// text, which no chunk of that name has. With the whole old row it has it.
	l.sql("UPDATE chunks SET chunk_id = 'moved-1' WHERE chunk_id = 'moved'")
	if got := byColumn.reasons(1); !reflect.DeepEqual(got, map[string]int{"text_unavailable": 1}) {
		t.Errorf("dead letters %v, want the moved chunk alone", got)
	}
	l.sql("ALTER TABLE chunks REPLICA IDENTITY FULL", "UPDATE chunks SET chunk_id = 'moved-2' WHERE chunk_id = 'moved-1'")
	level(right, "after a change of key with the whole row")
	if got := byColumn.reasons(1); !reflect.DeepEqual(got, map[string]int{"text_unavailable": 1}) {
		t.Errorf("dead letters %v, want no more", got)
	}

	// A row that was never streamed, and an incremental snapshot, whose rows have
	// no position: only what goes below every change needs none.
	l.snapshotBesideTheStream()
	level([]*index{byColumn, byAll}, "after an incremental snapshot")
	if got := byAll.reasons(1); !reflect.DeepEqual(got, map[string]int{"text_unavailable": 1}) {
		t.Errorf("dead letters %v below every change, want no more", got)
	}
	if got := byReach.reasons(2); got["bad_version"] == 0 {
		t.Errorf("control: dead letters %v, want the rows of the incremental snapshot", got)
	}

	l.loseTheSlot(connect)
	l.connect()
	level([]*index{byColumn, byReach}, "after a lost slot and another snapshot")
	byAll.done()
	if got := difference(l.table(), byAll.holds()); !slices.Contains(got, "d1/c1") {
		t.Errorf("control: with the snapshots below every change %q differ, want d1/c1", got)
	}
}

// snapshotBesideTheStream takes an incremental snapshot, while a transaction is
// open that is committed afterwards, of a table with a row that the stream lacks.
func (l *line) snapshotBesideTheStream() {
	l.t.Helper()
	l.sql("ALTER PUBLICATION chunks SET (publish = 'update, delete')",
		"INSERT INTO chunks (document_id, chunk_id, text) VALUES ('slow', 'unheard', 'of')",
		"ALTER PUBLICATION chunks SET (publish = 'insert, update, delete')")
	open := l.session()
	open.do("BEGIN; UPDATE chunks SET text = 'newer' WHERE chunk_id = 'open';")
	before := l.topicEnd()
	l.sql(`INSERT INTO signals VALUES ('1', 'execute-snapshot', '{"data-collections": ["public.chunks"], "type": "incremental"}')`)
	rows, err := strconv.ParseInt(l.sql("SELECT count(*) FROM chunks"), 10, 64)
	if err != nil {
		l.t.Fatal(err)
	}
	l.wait("the incremental snapshot is in the topic", func() bool { return l.topicEnd() >= before+rows })
	open.do("COMMIT;")
}

// loseTheSlot ends the connector and its slot, and has rows change that nobody
// follows: some that were streamed before. The log grows by more than two of its
// files of 16 MiB, and that is more than it did while the slot was made.
func (l *line) loseTheSlot(connect *realservers.Command) {
	l.t.Helper()
	if err := connect.Stop(); err != nil {
		l.t.Logf("Kafka Connect: %v", err)
	}
	l.wait("nobody reads the slot", func() bool {
		return l.sql("SELECT count(*) FROM pg_replication_slots WHERE NOT active") == "1"
	})
	l.sql("SELECT pg_drop_replication_slot('chunks')")
	for i := range 3 {
		l.sql(fmt.Sprintf("UPDATE chunks SET text = 'in the gap, %d' WHERE document_id = 'd1'", i), "SELECT pg_switch_wal()")
	}
}

// snapshotWhileOpen starts the connector, while others change rows, so that its
// snapshot begins in the middle of a transaction: one that has changed slow/open
// and not committed, and deleted another row. It returns that transaction's
// session, the connector, and how far the log grew while the slot was made.
//
// A replication slot waits for the transactions that it finds (a), then for
// those that began meanwhile (b). One that begins after that is decoded from
// its start, though its changes lie before the position of the snapshot.
func (l *line) snapshotWhileOpen() (open *session, connect *realservers.Command, reach string) {
	l.t.Helper()
	a, b, open := l.session(), l.session(), l.session()
	first := a.do("BEGIN; UPDATE chunks SET text = 'a2' WHERE chunk_id = 'a' AND document_id = 'slow'; SELECT txid_current();")
	connect = l.connect()
	l.waitForSlot(first)
	second := b.do("BEGIN; UPDATE chunks SET text = 'b2' WHERE chunk_id = 'b' AND document_id = 'slow'; SELECT txid_current();")
	a.do("COMMIT;")
	l.waitForSlot(second)
	open.do("BEGIN; UPDATE chunks SET text = 'new' WHERE chunk_id = 'open'; DELETE FROM chunks WHERE chunk_id = 'gone';")
	writer := l.postgres.Psql(l.t.Context(), "app")
	writer.Stdin = strings.NewReader(churn(3000))
	if err := writer.Start(); err != nil {
		l.t.Fatal(err)
	}
	b.do("COMMIT;")
	l.t.Cleanup(func() { _ = writer.Wait() })
	l.wait("the slot is there", func() bool {
		reach = l.sql("SELECT confirmed_flush_lsn - restart_lsn FROM pg_replication_slots WHERE slot_name = 'chunks'")
		return reach != ""
	})
	l.t.Logf("the log grew by %s bytes while the slot was made", reach)
	if err := writer.Wait(); err != nil {
		l.t.Fatal(err)
	}
	return open, connect, reach
}

// waitForSlot waits until the slot's making waits for a transaction.
func (l *line) waitForSlot(transaction string) {
	l.t.Helper()
	l.wait("the slot waits for transaction "+transaction, func() bool {
		return l.sql("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND locktype = 'transactionid' "+
			"AND transactionid::text = '"+transaction+"' AND backend_type = 'walsender'") != "0"
	})
}

// change does everything to rows that can be done to them.
func (l *line) change() {
	l.t.Helper()
	l.sql(
		"INSERT INTO chunks (document_id, chunk_id, position, text, metadata) VALUES ('new', 'unicode', 7, 'Zażółć gęślą jaźń — 東京 🚀', '{\"n\": 1, \"deep\": {\"a\": [true, null, 1.5]}}')",
		"UPDATE chunks SET text = 'another text' WHERE document_id = 'd1'",
		"UPDATE chunks SET metadata = '{\"lang\": \"de\"}', position = position + 1 WHERE document_id = 'd2'",
		// Big texts: one left alone while its neighbours change, one changed.
		"UPDATE chunks SET position = 9, metadata = '{\"kept\": true}' WHERE chunk_id = 'kept'",
		"UPDATE chunks SET text = '"+bigText("four")+"' WHERE chunk_id = 'edited'",
		"UPDATE chunks SET text = '' WHERE document_id = 'd3'",
		"UPDATE chunks SET text = NULL WHERE document_id = 'd4'",
		"DELETE FROM chunks WHERE document_id = 'd5'",
		// Gone and back again, and a change of key, small enough to be in the log.
		"DELETE FROM chunks WHERE document_id = 'd6'",
		"INSERT INTO chunks (document_id, chunk_id, text) SELECT 'd6', 'c' || i, 'back again ' || i FROM generate_series(6, 499, 20) i",
		"UPDATE chunks SET document_id = 'renamed' WHERE document_id = 'd7'",
		"BEGIN; UPDATE chunks SET text = 'one' WHERE document_id = 'd8'; UPDATE chunks SET text = 'two' WHERE document_id = 'd8'; "+
			"DELETE FROM chunks WHERE document_id = 'd9'; INSERT INTO chunks (document_id, chunk_id, text) VALUES ('d9', 'c9', 'in one transaction'); COMMIT",
		"BEGIN; UPDATE chunks SET text = 'never' WHERE document_id = 'd10'; ROLLBACK",
	)
}
