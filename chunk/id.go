package chunk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// ID names a point in the index: the first 128 bits of a SHA-256 over the
// length-prefixed fields that identify a chunk. It is written as a UUID,
// because Qdrant takes only integers and UUIDs, but carries no UUID version
// bits.
type ID [16]byte

// NewID is the identity of a chunk under its producer's names. It does not
// depend on the text, so an edit replaces the point it edits.
func NewID(source, documentID, chunkID string) ID {
	return newID(source, documentID, chunkID)
}

// NewContentID is the identity of a chunk under content addressing: the same
// text in the same document is the same point, whatever its chunk_id.
func NewContentID(source, documentID, text string) ID {
	// The empty third field and the fourth keep this apart from every NewID.
	return newID(source, documentID, "", text)
}

// NewDocumentID names the point that carries a document's tombstone. It holds
// no chunk and never collides with one.
func NewDocumentID(source, documentID string) ID {
	return newID(source, documentID)
}

func newID(fields ...string) ID {
	h := sha256.New()
	var length [8]byte
	for _, f := range fields {
		// Without the length ("a","bc") and ("ab","c") would be one point.
		binary.BigEndian.PutUint64(length[:], uint64(len(f)))
		h.Write(length[:])
		h.Write([]byte(f))
	}
	var id ID
	copy(id[:], h.Sum(nil))
	return id
}

// String is the canonical lower-case UUID form, 8-4-4-4-12.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// MarshalText lets JSON have the same form, which commands take.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is [ParseID].
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// ParseID reads the form that [ID.String] writes; upper case and the form
// without hyphens are accepted.
func ParseID(s string) (ID, error) {
	var id ID
	compact := strings.ReplaceAll(s, "-", "")
	hyphenated := len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
	if len(compact) != 32 || (len(s) != 32 && !hyphenated) {
		return id, fmt.Errorf("%q is not a point id: want a UUID of 32 hexadecimal digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(compact)); err != nil {
		return ID{}, fmt.Errorf("%q is not a point id: %w", s, err)
	}
	return id, nil
}

// Hash is the SHA-256 of a text exactly as it is given to the encoder. With
// the model's digest it names a cached vector.
type Hash [sha256.Size]byte

// HashText hashes the bytes of text as they are: no trimming, no Unicode
// normalisation.
func HashText(text string) Hash { return sha256.Sum256([]byte(text)) }

// String is 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads the form that [Hash.String] writes.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return h, fmt.Errorf("%q is not a content hash: want 64 hexadecimal digits", s)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("%q is not a content hash: %w", s, err)
	}
	return h, nil
}
