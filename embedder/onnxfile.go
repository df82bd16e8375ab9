package embedder

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto3.
const (
	modelGraph          = 7
	graphNode           = 1
	graphInitializer    = 5
	nodeAttribute       = 5
	attributeTensor     = 5
	attributeGraph      = 6
	attributeTensors    = 10
	attributeGraphs     = 11
	tensorExternalData  = 13
	stringEntryKey      = 1
	stringEntryValue    = 2
	largestExternalStub = 1 << 20 // an initializer larger than this holds its data itself
)

var errNotONNX = errors.New("not an ONNX model: its Protocol Buffers encoding is broken")

// fingerprint reads a model.onnx: its digest, and the digests of the files
// that its weights lie in, where they lie outside.
func fingerprint(path string) (model Digest, data []DataFile, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Digest{}, nil, err
	}
	defer func() { _ = f.Close() }()
	model, names, err := scanModel(f)
	if err != nil {
		return Digest{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range names {
		if !filepath.IsLocal(name) {
			return Digest{}, nil, fmt.Errorf("%s: refers to weights at %q, outside its folder: export the model again with a relative location", path, name)
		}
		sum, err := hashFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return Digest{}, nil, fmt.Errorf("%s: read the weights it refers to: %w", path, err)
		}
		data = append(data, DataFile{Name: name, SHA256: sum})
	}
	return model, data, nil
}

func hashFile(path string) (Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return Digest{}, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Digest{}, err
	}
	return Digest(h.Sum(nil)), nil
}

// scanModel hashes a model of any size in one pass and lists, sorted and
// without repetition, the external files of its tensors. It keeps no weights
// in memory.
func scanModel(r io.Reader) (Digest, []string, error) {
	h := sha256.New()
	s := &modelScanner{r: bufio.NewReaderSize(io.TeeReader(r, h), 1<<16)}
	if head, _ := s.r.Peek(len(lfsPointer)); string(head) == lfsPointer {
		return Digest{}, nil, errors.New("a Git LFS pointer, not the model itself: run `git lfs pull` where it was cloned")
	}
	if err := s.message(-1, s.model); err != nil {
		return Digest{}, nil, err
	}
	if s.graphs == 0 {
		return Digest{}, nil, errNotONNX
	}
	slices.Sort(s.external)
	return Digest(h.Sum(nil)), slices.Compact(s.external), nil
}

const lfsPointer = "version https://git-lfs"

type modelScanner struct {
	r        *bufio.Reader
	read     int64 // bytes consumed
	graphs   int
	external []string
}

// message walks the fields of a message of n bytes, or to the end of the
// file for n < 0. Field is called for length-delimited ones and must consume
// size bytes.
func (s *modelScanner) message(n int64, field func(num protowire.Number, size int64) error) error {
	end := s.read + n
	for n < 0 || s.read < end {
		if _, err := s.r.Peek(1); n < 0 && errors.Is(err, io.EOF) {
			return nil
		}
		tag, err := s.varint()
		if err != nil {
			return err
		}
		num, typ := protowire.DecodeTag(tag)
		switch typ {
		case protowire.VarintType:
			_, err = s.varint()
		case protowire.Fixed32Type:
			err = s.skip(4)
		case protowire.Fixed64Type:
			err = s.skip(8)
		case protowire.BytesType:
			var size uint64
			if size, err = s.varint(); err == nil {
				if size > 1<<40 || n >= 0 && int64(size) > end-s.read {
					return errNotONNX
				}
				err = field(num, int64(size))
			}
		default:
			return errNotONNX
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *modelScanner) model(num protowire.Number, size int64) error {
	if num != modelGraph {
		return s.skip(size)
	}
	s.graphs++
	return s.message(size, s.graph)
}

func (s *modelScanner) graph(num protowire.Number, size int64) error {
	if num != graphNode && (num != graphInitializer || size > largestExternalStub) {
		return s.skip(size)
	}
	// Not make([]byte, size): a broken file may claim any size.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, s.r, size); err != nil {
		return errNotONNX
	}
	s.read += size
	if num == graphNode {
		return s.node(body.Bytes())
	}
	return s.tensor(body.Bytes())
}

// node looks for tensors in a node's attributes, and in the graphs there.
func (s *modelScanner) node(b []byte) error {
	return each(b, func(num protowire.Number, attribute []byte) error {
		if num != nodeAttribute {
			return nil
		}
		return each(attribute, func(num protowire.Number, value []byte) error {
			switch int(num) {
			case attributeTensor, attributeTensors:
				return s.tensor(value)
			case attributeGraph, attributeGraphs:
				return each(value, func(num protowire.Number, part []byte) error {
					switch int(num) {
					case graphNode:
						return s.node(part)
					case graphInitializer:
						return s.tensor(part)
					}
					return nil
				})
			}
			return nil
		})
	})
}

func (s *modelScanner) tensor(b []byte) error {
	return each(b, func(num protowire.Number, entry []byte) error {
		if num != tensorExternalData {
			return nil
		}
		var key, value string
		err := each(entry, func(num protowire.Number, text []byte) error {
			switch int(num) {
			case stringEntryKey:
				key = string(text)
			case stringEntryValue:
				value = string(text)
			}
			return nil
		})
		if key == "location" {
			s.external = append(s.external, value)
		}
		return err
	})
}

// each calls f for the length-delimited fields of a message.
func each(b []byte, f func(num protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errNotONNX
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errNotONNX
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errNotONNX
		}
		if err := f(num, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (s *modelScanner) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b, err := s.r.ReadByte()
		if err != nil {
			return 0, errNotONNX
		}
		s.read++
		v |= uint64(b&127) << shift
		if b < 128 {
			return v, nil
		}
	}
	return 0, errNotONNX
}

func (s *modelScanner) skip(n int64) error {
	m, err := io.CopyN(io.Discard, s.r, n)
	s.read += m
	if err != nil {
		return errNotONNX
	}
	return nil
}
