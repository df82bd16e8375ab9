//go:build synctests

package inprocess

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"chunktide/chunk"
)

// The layout of a cached vector, as package cache documents it: 12 bytes of
// header, the components, and a CRC32C over digest, hash and all before it.
const (
	cachedHeader = 12
	cachedSum    = 4
)

// tamper changes every kth value in Redis.
func (w *world) tamper(name string, k int, change func(hash chunk.Hash, value []byte) []byte) {
	db := w.stack.Redis.DB(0)
	for i, key := range db.Keys() {
		value, err := db.Get(key)
		hash, parsed := chunk.ParseHash(key[strings.LastIndexByte(key, ':')+1:])
		if i%k != 0 || err != nil || parsed != nil || len(value) != cachedHeader+4*dim+cachedSum {
			continue
		}
		if err := db.Set(key, string(change(hash, []byte(value)))); err != nil {
			w.t.Errorf("tamper with a cached value: %v", err)
		}
		w.tally.count(name)
	}
}

// flip turns one bit of a vector over, and leaves the rest as it is.
func flip(_ chunk.Hash, value []byte) []byte {
	value[cachedHeader+3] ^= 0x40
	return value
}

// shortened is the value of a model with half the dimensions.
func (w *world) shortened(hash chunk.Hash, value []byte) []byte {
	value = value[:cachedHeader+4*dim/2+cachedSum]
	binary.LittleEndian.PutUint32(value[4:], dim/2)
	return w.sealed(w.encoder.Recipe().Digest(), hash, value)
}

// foreign is a value of a model with the same dimensions and another digest.
func (w *world) foreign(hash chunk.Hash, value []byte) []byte {
	digest := w.encoder.Recipe().Digest()
	digest[0] ^= 1
	return w.sealed(digest, hash, others(value))
}

// others is a vector that another model would make.
func others(value []byte) []byte {
	for i := range dim {
		binary.LittleEndian.PutUint32(value[cachedHeader+4*i:], math.Float32bits(float32(i%3)-1))
	}
	return value
}

// sealed gives a value the checksum that a model's worker would.
func (w *world) sealed(digest [32]byte, hash chunk.Hash, value []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Update(0, table, digest[:]), table, hash[:])
	body := value[:len(value)-cachedSum]
	binary.LittleEndian.PutUint32(value[len(body):], crc32.Update(sum, table, body))
	return value
}

// genuine seals a value as this model's worker would: a control, for then the
// checksum tells nothing.
func (w *world) genuine(change func(chunk.Hash, []byte) []byte) func(chunk.Hash, []byte) []byte {
	return func(hash chunk.Hash, value []byte) []byte {
		return w.sealed(w.encoder.Recipe().Digest(), hash, change(hash, value))
	}
}

// redisFault is something that happens to Redis at a moment.
type redisFault struct {
	name string
	do   func(w *world)
}

func redisFaults() []redisFault {
	return []redisFault{
		{"redis: FLUSHALL", func(w *world) { w.stack.Redis.FlushAll(); w.tally.count("redis: FLUSHALL") }},
		{"redis: a bit flipped", func(w *world) { w.tamper("redis: a bit flipped", 3, flip) }},
		{"redis: a value of another dimension", func(w *world) { w.tamper("redis: a value of another dimension", 3, w.shortened) }},
		{"redis: a value of another model", func(w *world) { w.tamper("redis: a value of another model", 3, w.foreign) }},
		{"redis: no answer in time", func(w *world) { w.slowRedis(20 * time.Second) }},
	}
}

// slowRedis lets no command be answered within its timeout, for a while.
func (w *world) slowRedis(d time.Duration) {
	until := time.Now().Add(d)
	w.mu.Lock()
	w.redisBack = until
	w.mu.Unlock()
	var slowed atomic.Int64
	w.stack.Redis.Server().SetPreHook(func(*server.Peer, string, ...string) bool {
		if time.Now().Before(until) {
			time.Sleep(2 * w.cache.Timeout)
			if slowed.Add(1) == 1 {
				w.tally.count("redis: no answer in time")
			}
		}
		return false
	})
}

func (w *world) slowUntil() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.redisBack
}
