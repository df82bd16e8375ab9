//go:build cdc

package cdc

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
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

// The walk-through of docs/CDC.md. Two workers read the topic: one takes the
// versions from the column that the trigger fills, as deploy/cdc says. The
// other is the control and takes them from the log: it must miss the change of
// the transaction that was open while the snapshot was taken.
func TestTheIndexEqualsTheTable(t *testing.T) {
	l := newLine(t)
	l.sql("INSERT INTO chunks (document_id, chunk_id, position, text, metadata) " +
		"SELECT 'd' || i % 20, 'c' || i, i, 'first text ' || i, '{\"lang\": \"en\"}' FROM generate_series(0, 499) i")
	l.sql("INSERT INTO chunks (document_id, chunk_id, text) VALUES ('slow', 'open', 'old'), ('slow', 'a', 'a'), ('slow', 'b', 'b'), " +
		"('big', 'edited', '" + bigText("one") + "'), ('big', 'kept', '" + bigText("two") + "'), ('big', 'moved', '" + bigText("three") + "')")

	open := l.snapshotWhileOpen()
	byColumn, byLog := l.work("column"), l.work("log", "events.debezium.version=source.lsn")
	l.wait("the snapshot is in both indexes", func() bool {
		return byColumn.holds()["slow/open"].Text == "old" && byLog.holds()["slow/open"].Text == "old"
	})
	open.do("COMMIT;")
	byColumn.level("after the snapshot")
	byLog.done()
	if got := difference(l.table(), byLog.holds()); !slices.Contains(got, "slow/open") {
		t.Errorf("control: by the log's positions %q differ, want slow/open", got)
	}

	l.change()
	byColumn.level("after all kinds of changes")

	// A key that changes while a big text does not: the new row comes without its
	// text, which no chunk of that name has. With the whole old row it has it.
	l.sql("UPDATE chunks SET chunk_id = 'moved-1' WHERE chunk_id = 'moved'")
	if got := byColumn.reasons(1); !reflect.DeepEqual(got, map[string]int{"text_unavailable": 1}) {
		t.Errorf("dead letters %v, want the moved chunk alone", got)
	}
	l.sql("ALTER TABLE chunks REPLICA IDENTITY FULL", "UPDATE chunks SET chunk_id = 'moved-2' WHERE chunk_id = 'moved-1'")
	byColumn.level("after a change of key with the whole row")
	if got := byColumn.reasons(1); !reflect.DeepEqual(got, map[string]int{"text_unavailable": 1}) {
		t.Errorf("dead letters %v, want no more", got)
	}
}

// snapshotWhileOpen starts the connector, while others change rows, so that its
// snapshot begins in the middle of a transaction: one that has changed slow/open
// and not committed. It returns that transaction's session.
//
// A replication slot waits for the transactions that it finds (a), then for
// those that began meanwhile (b). One that begins after that is decoded from
// its start, though its changes lie before the position of the snapshot.
func (l *line) snapshotWhileOpen() (open *session) {
	l.t.Helper()
	a, b, open := l.session(), l.session(), l.session()
	first := a.do("BEGIN; UPDATE chunks SET text = 'a2' WHERE chunk_id = 'a' AND document_id = 'slow'; SELECT txid_current();")
	l.connect()
	l.waitForSlot(first)
	second := b.do("BEGIN; UPDATE chunks SET text = 'b2' WHERE chunk_id = 'b' AND document_id = 'slow'; SELECT txid_current();")
	a.do("COMMIT;")
	l.waitForSlot(second)
	open.do("BEGIN; UPDATE chunks SET text = 'new' WHERE chunk_id = 'open';")
	writer := l.postgres.Psql(l.t.Context(), "app")
	writer.Stdin = strings.NewReader(churn(3000))
	if err := writer.Start(); err != nil {
		l.t.Fatal(err)
	}
	b.do("COMMIT;")
	l.t.Cleanup(func() { _ = writer.Wait() })
	l.wait("the slot is there", func() bool {
		return l.sql("SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL") == "1"
	})
	if err := writer.Wait(); err != nil {
		l.t.Fatal(err)
	}
	return open
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
