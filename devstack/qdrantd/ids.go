package qdrantd

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"strconv"
	"strings"

	pb "github.com/qdrant/go-client/qdrant"
)

// pointID is a number or a UUID. Numbers come before UUIDs; UUIDs are ordered
// by their bytes.
type pointID struct {
	uuid   [16]byte
	number uint64
	isUUID bool
}

func compareIDs(a, b pointID) int {
	switch {
	case a.isUUID != b.isUUID && b.isUUID:
		return -1
	case a.isUUID != b.isUUID:
		return 1
	case a.isUUID:
		return bytes.Compare(a.uuid[:], b.uuid[:])
	default:
		return cmp.Compare(a.number, b.number)
	}
}

func (id pointID) String() string {
	if !id.isUUID {
		return strconv.FormatUint(id.number, 10)
	}
	var b [36]byte
	hex.Encode(b[0:8], id.uuid[0:4])
	hex.Encode(b[9:13], id.uuid[4:6])
	hex.Encode(b[14:18], id.uuid[6:8])
	hex.Encode(b[19:23], id.uuid[8:10])
	hex.Encode(b[24:36], id.uuid[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

func (id pointID) proto() *pb.PointId {
	if id.isUUID {
		return pb.NewIDUUID(id.String())
	}
	return pb.NewIDNum(id.number)
}

func readID(id *pb.PointId) (pointID, error) {
	switch id := id.GetPointIdOptions().(type) {
	case *pb.PointId_Num:
		return pointID{number: id.Num}, nil
	case *pb.PointId_Uuid:
		uuid, ok := parseUUID(id.Uuid)
		if !ok {
			return pointID{}, invalid("Unable to parse UUID: %s", id.Uuid)
		}
		return pointID{uuid: uuid, isUUID: true}, nil
	default:
		return pointID{}, invalid("No ID options provided")
	}
}

func readIDs(ids []*pb.PointId) ([]pointID, error) {
	read := make([]pointID, len(ids))
	for i, id := range ids {
		var err error
		if read[i], err = readID(id); err != nil {
			return nil, err
		}
	}
	return read, nil
}

// parseUUID takes the forms that the real server takes: with and without
// hyphens, in braces, as a URN.
func parseUUID(s string) (uuid [16]byte, ok bool) {
	if inner, braced := strings.CutPrefix(s, "{"); braced {
		if s, ok = strings.CutSuffix(inner, "}"); !ok {
			return uuid, false
		}
	} else if urn, isURN := strings.CutPrefix(s, "urn:uuid:"); isURN {
		s = urn
	}
	if len(s) == 36 {
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return uuid, false
		}
		s = s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	}
	if len(s) != 32 {
		return uuid, false
	}
	_, err := hex.Decode(uuid[:], []byte(s))
	return uuid, err == nil
}
