// Package cache keeps the vectors of one model by content hash, so that no
// text is encoded twice: a byte-bounded LRU in memory, in front of Redis.
//
// What it guarantees:
//
//   - It never fails and never blocks for long. What Redis does not answer
//     within [Config.Timeout] is a miss, and after a few failures in a row Redis
//     is left alone for a while (a circuit breaker). Without Redis the worker
//     encodes more; it is never less correct.
//   - It never returns a wrong vector. Every value carries a CRC32C over the
//     model's digest, the content hash and its own bytes; one that does not
//     check out, or was written under another type or dimension, is a miss and
//     is deleted.
//   - Get and Put agree bit for bit: both hand out what the codec makes of a
//     vector, and of two different vectors for one text the first that reached
//     Redis stays. The exception is two workers that both cannot reach Redis.
//   - Every vector handed out is the caller's own; nothing else refers to it.
//
// All methods are safe for concurrent use.
//
// # What lies in Redis
//
// Keys are <prefix><first 16 bytes of the model's digest, hexadecimal>:<content
// hash, hexadecimal>. The digest begins with the 12 digits that end a
// model_version, so redis-cli --scan --pattern 'ct:0123456789ab*' lists the
// entries of one model. They stand alone, each on the cluster node of its own
// slot. Values, little-endian:
//
//	0   2   magic "CT"
//	2   1   format, 1
//	3   1   bits 0-6: type, 1 = fp32, 2 = fp16; bit 7: the text was truncated
//	4   4   dimension
//	8   4   tokens that the encoder read
//	12  4d  components, IEEE 754 (2d bytes for fp16)
//	end 4   CRC32C (Castagnoli) of digest (32 bytes), content hash (32 bytes)
//	        and all bytes before
//
// Values are never overwritten (SET NX), and may be evicted or flushed at any
// time: maxmemory-policy allkeys-lru or allkeys-lfu suits. A whole fleet has to
// agree on [Config.DType]; workers with another one delete each other's entries.
//
// # What a Redis user needs
//
// An ACL user needs GET, SET, DEL and PING on its prefix and nothing else:
//
//	ACL SETUSER chunktide on >password ~ct:* +get +set +del +ping
//
// and +select for a database other than 0, +client|setname for client_name, and
// +cluster|slots on a cluster. The data nodes behind Sentinel need no more;
// Sentinel itself has users of its own (see [Config.URL]).
package cache
