package chunk

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SnapshotBehind is how far below their own version the rows of a snapshot
// count: a number in the version's unit, or "all".
type SnapshotBehind int64

// BehindAll puts a snapshot's rows below every change.
const BehindAll = SnapshotBehind(MaxVersion)

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *SnapshotBehind) UnmarshalText(text []byte) error {
	if string(text) == "all" {
		*b = BehindAll
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is neither a whole number nor all", text)
	}
	*b = SnapshotBehind(n)
	return nil
}

// readOp is the operation of a row that was read, not changed: one of a
// snapshot, an incremental one too.
const readOp = "r"

// version reads the version that key has in the envelope, and lowers that of a
// snapshot's row. What was changed in a transaction that was open when the
// snapshot was taken has a version below the snapshot's own, and is newer.
func (b SnapshotBehind) version(key string, value, op any) (Version, error) {
	if value == nil {
		if b == BehindAll && op == readOp {
			return 1, nil // so it would be with any
		}
		// A connector that has positions left this one out. A fallback would be far
		// above every position, and no later change of the chunk would pass it.
		return 0, Permanentf(ReasonBadVersion, "%s is null, so the change has no version: map a column (events.debezium.version), "+
			"or, for the rows of an incremental snapshot, read in docs/CDC.md when events.debezium.snapshot_behind may be all", key)
	}
	v, err := version(key, value)
	if err != nil || op != readOp {
		return v, err
	}
	return max(1, v-Version(b)), nil
}

// validateSnapshotBehind refuses what would have no effect, so that nobody
// relies on it.
func (c DecoderConfig) validateSnapshotBehind() error {
	switch b := c.Debezium.SnapshotBehind; {
	case b < 0 || b > BehindAll:
		return fmt.Errorf("debezium.snapshot_behind: %d: want a number from 0 to %d in the version's unit, or all", b, int64(MaxVersion))
	case b > 0 && strings.HasPrefix(c.Debezium.Version, columnPrefix):
		return errors.New("debezium.snapshot_behind: leave it at 0 where the version is in a column (debezium.version): there it is the row's own, in a snapshot too")
	case b > 0 && c.Versions == VersionsRecord:
		return errors.New("debezium.snapshot_behind: leave it at 0 where versions is record: there the versions that it lowers are not read")
	default:
		return nil
	}
}
