package verify

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"chunktide/chunk"
)

// buckets is how many files the events are spilled to; a document's events lie
// in one of them, so that each can be folded by itself.
const buckets = 256

// entry is what must be known of an event, or of a stored point, to compare
// the two: everything but the content.
type entry struct {
	doc, id chunk.ID
	version chunk.Version
	hash    chunk.Hash
	op      chunk.Op
	// flag is textless for an event that left its text out, and model for a
	// point that bears a model_version that it may.
	flag  bool
	stand Stand // of a point
	place Place
	time  int64 // of an event, in nanoseconds
}

const entrySize = 16 + 16 + 8 + 32 + 3 + 4 + 8 + 4 + 8

func (e *entry) put(b *[entrySize]byte) {
	o := binary.LittleEndian
	copy(b[0:], e.doc[:])
	copy(b[16:], e.id[:])
	o.PutUint64(b[32:], uint64(e.version))
	copy(b[40:], e.hash[:])
	b[72], b[73], b[74] = byte(e.op), 0, byte(e.stand)
	if e.flag {
		b[73] = 1
	}
	o.PutUint32(b[75:], uint32(e.place.Part))
	o.PutUint64(b[79:], uint64(e.place.Offset))
	o.PutUint32(b[87:], uint32(e.place.Index))
	o.PutUint64(b[91:], uint64(e.time))
}

func (e *entry) get(b *[entrySize]byte) {
	o := binary.LittleEndian
	copy(e.doc[:], b[0:])
	copy(e.id[:], b[16:])
	e.version = chunk.Version(o.Uint64(b[32:]))
	copy(e.hash[:], b[40:])
	e.op, e.flag, e.stand = chunk.Op(b[72]), b[73] == 1, Stand(b[74])
	e.place = Place{Part: int32(o.Uint32(b[75:])), Offset: int64(o.Uint64(b[79:])), Index: int32(o.Uint32(b[87:]))}
	e.time = int64(o.Uint64(b[91:]))
}

// spill is entries on disk, by document.
type spill struct {
	dir     string
	files   [buckets]*os.File
	writers [buckets]*bufio.Writer
}

func newSpill(dir string) (*spill, error) {
	path, err := os.MkdirTemp(dir, "chunktide-verify-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the spilled events: %w", err)
	}
	return &spill{dir: path}, nil
}

// spillBuffer is what each of the files has in memory.
const spillBuffer = 16 << 10

func (s *spill) add(e *entry) error {
	i := e.doc[0]
	if s.files[i] == nil {
		f, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("%02x", i)))
		if err != nil {
			return fmt.Errorf("spill events: %w", err)
		}
		s.files[i], s.writers[i] = f, bufio.NewWriterSize(f, spillBuffer)
	}
	var b [entrySize]byte
	e.put(&b)
	if _, err := s.writers[i].Write(b[:]); err != nil {
		return fmt.Errorf("spill events to %s: %w; choose a folder with more room (--dir)", s.dir, err)
	}
	return nil
}

// bucket reads one file, all that was added to it.
func (s *spill) bucket(i int) ([]entry, error) {
	f := s.files[i]
	if f == nil {
		return nil, nil
	}
	if err := s.writers[i].Flush(); err != nil {
		return nil, fmt.Errorf("spill events to %s: %w; choose a folder with more room (--dir)", s.dir, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(f, 256<<10)
	var out []entry
	var b [entrySize]byte
	for {
		_, err := io.ReadFull(in, b[:])
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read spilled events: %w", err)
		}
		out = append(out, entry{})
		out[len(out)-1].get(&b)
	}
}

func (s *spill) close() error {
	for _, f := range s.files {
		if f != nil {
			_ = f.Close() // it is thrown away
		}
	}
	return os.RemoveAll(s.dir)
}
