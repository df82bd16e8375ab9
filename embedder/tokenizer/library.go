//go:build hftokenizers

package tokenizer

/*
#cgo LDFLAGS: -L${SRCDIR}/../../.cache/tokenizers/lib -lchunktide_tokenizers -lm
#cgo linux LDFLAGS: -ldl -lpthread
#cgo noescape ct_encode
#cgo nocallback ct_encode
#include "rust/tokenizers.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"
)

// libraryVersion is that of rust/Cargo.toml. It is also what makes Go link
// again: its build cache does not look at the library.
const libraryVersion = "1.0.0"

// library is the reference itself, a Rust library. It is safe for concurrent
// use. What it holds is freed when it is garbage.
type library struct {
	handle *C.ct_tokenizer
	size   int
	pad    int64
}

// newLibrary has the reference read the file. What WordPiece in Go does not
// do does not matter then.
func newLibrary(data []byte, f *file, _ *unsupportedError) (Tokenizer, error) {
	if v := C.GoString(C.ct_version()); v != libraryVersion {
		return nil, fmt.Errorf("the Rust library is version %s and this code is written for %s: run `make tokenizers` and build again", v, libraryVersion)
	}
	if err := f.checkUnknown(); err != nil {
		return nil, err
	}
	var message [1024]byte
	var written C.size_t
	handle := C.ct_new(start(data), C.size_t(len(data)), start(message[:]), C.size_t(len(message)), &written)
	if handle == nil {
		return nil, fmt.Errorf("tokenizers refuses the file: %s", message[:written])
	}
	t := &library{handle: handle, size: int(C.ct_size(handle))}
	runtime.AddCleanup(t, func(h *C.ct_tokenizer) { C.ct_free(h) }, handle)
	if err := f.checkAddedIDs(t.idOf); err != nil {
		return nil, err
	}
	// A setting that no text gets through (a fixed length of 0) shows here.
	if t.encode("a b", 0, nil) < 0 {
		return nil, errors.New("tokenizers fails on every text with this file: one of its values is broken")
	}
	var err error
	t.pad, err = f.padID(t.idOf, t.size)
	return t, err
}

// start is the address of a slice's first byte as C wants it.
func start(data []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(data))) }

func (t *library) idOf(token string) (int64, bool) {
	defer runtime.KeepAlive(t)
	id := int64(C.ct_id(t.handle, textStart(token), C.size_t(len(token))))
	return id, id >= 0
}

func textStart(text string) *C.char { return (*C.char)(unsafe.Pointer(unsafe.StringData(text))) }

// PadID implements [Tokenizer].
func (t *library) PadID() int64 { return t.pad }

// VocabSize implements [Tokenizer].
func (t *library) VocabSize() int { return t.size }

// Encode implements [Tokenizer].
func (t *library) Encode(dst []int64, text string, limit int) (ids []int64, total int) {
	text = validUTF8(text)
	limit = max(limit, 0)
	// Enough for nearly all texts: a token has some bytes of the text.
	room := len(text) + extraIDs
	if limit > 0 {
		room = min(room, limit+extraIDs)
	}
	for {
		dst = slices.Grow(dst, room)
		free := dst[len(dst):cap(dst)]
		total = t.mustEncode(text, limit, free)
		n := total
		if limit > 0 && total > limit {
			n = max(limit, t.Count(""))
		}
		if n <= len(free) {
			return dst[:len(dst)+n], total
		}
		room = n
	}
}

// extraIDs is more than the special tokens around a text.
const extraIDs = 8

// Count implements [Tokenizer].
func (t *library) Count(text string) int { return t.mustEncode(validUTF8(text), 0, nil) }

func (t *library) mustEncode(text string, limit int, into []int64) int {
	total := t.encode(text, limit, into)
	if total < 0 {
		panic(fmt.Sprintf("tokenizers failed on a text of %d bytes; where it panicked stands on stderr", len(text)))
	}
	return total
}

// encode returns how many ids text has, or -1 if the library failed.
func (t *library) encode(text string, limit int, into []int64) int {
	ids := (*C.int64_t)(unsafe.SliceData(into))
	total := C.ct_encode(t.handle, textStart(text), C.size_t(len(text)), C.size_t(limit), ids, C.size_t(len(into)))
	runtime.KeepAlive(t)
	return int(total)
}
