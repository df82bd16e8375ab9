package embedder

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto3.
const (
	modelGraph        = 7
	modelTraining     = 20
	modelFunction     = 25
	trainingInit      = 1
	trainingAlgorithm = 2
	functionNode      = 7
	functionDomain    = 10
	functionAttribute = 11
	graphNode         = 1
	graphInitializer  = 5
	graphSparse       = 15
	nodeAttribute     = 5
	nodeDomain        = 7
	attributeTensor   = 5
	attributeGraph    = 6
	attributeTensors  = 10
	attributeGraphs   = 11
	attributeSparse   = 22
	attributeSparses  = 23
	sparseValues      = 1
	sparseIndices     = 2
	tensorExternal    = 13
	stringEntryKey    = 1
	stringEntryValue  = 2
)

const (
	largestExternalStub = 1 << 20 // an initializer larger than this holds its data itself
	largestMessage      = 1 << 31 // Protocol Buffers, and ONNX Runtime, go no further
	deepestGraph        = 64      // graphs within the attributes of graphs
)

// domains are those whose operators are in ONNX Runtime itself. Others come in
// libraries, and none is ever loaded.
var domains = []string{"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}

var errNotONNX = errors.New("not an ONNX model: its Protocol Buffers encoding is broken")

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
	for _, domain := range s.used {
		if !slices.Contains(domains, domain) && !slices.Contains(s.defined, domain) {
			return Digest{}, nil, fmt.Errorf("has operators of the domain %q, which come in a library of their own, and none is ever loaded: "+
				"export the model with standard operators", domain)
		}
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
	// used are the domains of the operators, and defined those of the model's own
	// functions.
	used, defined []string
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
				if size > largestMessage || n >= 0 && int64(size) > end-s.read {
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
	switch int(num) {
	case modelGraph:
		s.graphs++
		return s.message(size, s.graph)
	case modelTraining:
		return s.message(size, func(num protowire.Number, size int64) error {
			if num != trainingInit && num != trainingAlgorithm {
				return s.skip(size)
			}
			return s.message(size, s.graph)
		})
	case modelFunction:
		body, err := s.take(size)
		if err != nil {
			return err
		}
		return s.function(body)
	default:
		return s.skip(size)
	}
}

func (s *modelScanner) graph(num protowire.Number, size int64) error {
	if num != graphNode && num != graphSparse && (num != graphInitializer || size > largestExternalStub) {
		return s.skip(size)
	}
	body, err := s.take(size)
	if err != nil {
		return err
	}
	return s.part(num, body, 0)
}

// part is a field of a graph.
func (s *modelScanner) part(num protowire.Number, body []byte, depth int) error {
	switch int(num) {
	case graphNode:
		return s.node(body, depth)
	case graphInitializer:
		return s.tensor(body)
	case graphSparse:
		return s.sparse(body)
	}
	return nil
}

func (s *modelScanner) function(b []byte) error {
	return each(b, func(num protowire.Number, value []byte) error {
		switch int(num) {
		case functionNode:
			return s.node(value, 0)
		case functionDomain:
			s.defined = add(s.defined, string(value))
		case functionAttribute:
			return s.attribute(value, 0)
		}
		return nil
	})
}

func (s *modelScanner) node(b []byte, depth int) error {
	domain := ""
	err := each(b, func(num protowire.Number, value []byte) error {
		switch int(num) {
		case nodeDomain:
			domain = string(value)
		case nodeAttribute:
			return s.attribute(value, depth)
		}
		return nil
	})
	s.used = add(s.used, domain)
	return err
}

// attribute looks for tensors in a node's attribute, and in the graphs there.
func (s *modelScanner) attribute(b []byte, depth int) error {
	if depth == deepestGraph {
		return fmt.Errorf("has graphs within graphs, more than %d deep", deepestGraph)
	}
	return each(b, func(num protowire.Number, value []byte) error {
		switch int(num) {
		case attributeTensor, attributeTensors:
			return s.tensor(value)
		case attributeSparse, attributeSparses:
			return s.sparse(value)
		case attributeGraph, attributeGraphs:
			return each(value, func(num protowire.Number, part []byte) error { return s.part(num, part, depth+1) })
		}
		return nil
	})
}

func (s *modelScanner) sparse(b []byte) error {
	return each(b, func(num protowire.Number, value []byte) error {
		if num != sparseValues && num != sparseIndices {
			return nil
		}
		return s.tensor(value)
	})
}

func (s *modelScanner) tensor(b []byte) error {
	return each(b, func(num protowire.Number, entry []byte) error {
		if num != tensorExternal {
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

// add keeps a list of different strings.
func add(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
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

// take reads size bytes. Not into make([]byte, size): a broken file may claim
// any size.
func (s *modelScanner) take(size int64) ([]byte, error) {
	var body bytes.Buffer
	if _, err := io.CopyN(&body, s.r, size); err != nil {
		return nil, errNotONNX
	}
	s.read += size
	return body.Bytes(), nil
}

func (s *modelScanner) skip(n int64) error {
	m, err := io.CopyN(io.Discard, s.r, n)
	s.read += m
	if err != nil {
		return errNotONNX
	}
	return nil
}
