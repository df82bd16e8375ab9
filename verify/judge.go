package verify

import (
	"crypto/sha256"
	"encoding/binary"

	"chunktide/chunk"
)

// held is the side of the index: an entry of a point, of op Upsert if it
// lives and Delete if it is a tombstone. Nil is a point that is not there.
type held = entry

// verdict is what a comparison of one chunk comes to.
type verdict uint8

const (
	right verdict = iota
	differs
	newer
	ahead
	forgotten
)

// judge holds a stored state against what is expected. Known is false for a
// chunk that the source does not know; x is the rest of its document then.
//
// With a difference it returns the outcome that would make it good, nil where
// the chunk must end; with right, the one that was met, nil for none.
func judge(x *expect, known bool, h *held) (verdict, Kind, *outcome) {
	if h != nil && h.stand == After {
		return newer, "", nil
	}
	if h == nil || h.op != chunk.Upsert {
		v, kind := judgeGone(x, h)
		return v, kind, x.living()
	}
	for i := range x.outcomes {
		if o := &x.outcomes[i]; o.living && o.version == h.version && (o.loose || o.hash == h.hash) {
			if !h.flag {
				return differs, WrongModel, o
			}
			return right, "", o
		}
	}
	v, kind := judgeLiving(x, known, h)
	return v, kind, x.living()
}

// judgeGone judges a tombstone, or nothing at all.
func judgeGone(x *expect, h *held) (verdict, Kind) {
	if x.absent {
		return right, ""
	}
	for i := range x.outcomes {
		if !x.outcomes[i].living {
			return right, ""
		}
	}
	if h != nil && beyond(x, h) {
		return ahead, ""
	}
	return differs, Missing
}

// judgeLiving judges a living chunk that meets no outcome.
func judgeLiving(x *expect, known bool, h *held) (verdict, Kind) {
	if !known || len(x.outcomes) == 0 {
		return judgeUnknown(x, h)
	}
	switch {
	case beyond(x, h):
		return ahead, ""
	case x.absent && h.stand == Before:
		return forgotten, "" // what came after is not certain to have arrived
	case x.living() == nil:
		return differs, Deleted
	default:
		return differs, Stale
	}
}

// judgeUnknown judges a living chunk of which the source has no state, though
// perhaps a delete.
func judgeUnknown(x *expect, h *held) (verdict, Kind) {
	switch {
	case x.top > 0 && h.version <= x.top || x.ends(h):
		return differs, Deleted
	case h.stand == Before:
		return forgotten, ""
	default:
		return differs, Orphan
	}
}

// beyond reports whether a stored version is higher than all that the source
// knows, and not for the reason that somebody changed it by hand: then the
// event that it names would still be there, with its true version.
func beyond(x *expect, h *held) bool {
	return h.version > x.top && (h.stand != Within || !x.knows(h.place))
}

// cells is how many digests there are, by the first bytes of the document's
// id; a bucket's cells lie together.
const cells = buckets * 256

func cellOf(doc chunk.ID) int { return int(doc[0])<<8 | int(doc[1]) }

// cell is a digest of living chunks that does not depend on their order: sums,
// not exclusive ors, so that two equal ones do not cancel each other out.
type cell struct{ n, a, b uint64 }

func (c *cell) add(id chunk.ID, v chunk.Version, h chunk.Hash, model bool) {
	var tuple [16 + 8 + 32 + 1]byte
	copy(tuple[0:], id[:])
	binary.LittleEndian.PutUint64(tuple[16:], uint64(v))
	copy(tuple[24:], h[:])
	if model {
		tuple[56] = 1
	}
	sum := sha256.Sum256(tuple[:])
	c.n++
	c.a += binary.LittleEndian.Uint64(sum[0:])
	c.b += binary.LittleEndian.Uint64(sum[8:])
}
