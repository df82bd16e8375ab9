package cache

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"chunktide/chunk"
)

// Cache holds the vectors of one model; see the package comment.
type Cache struct {
	cfg    Config
	codec  codec
	prefix string // of every key: the configured one and the model's
	logger *slog.Logger
	memory *memory
	// client is nil without Redis.
	client  redis.UniversalClient
	breaker *breaker
	metrics *metrics
	// refusing is set while Redis answers lookups but takes no writes.
	refusing atomic.Bool
}

// New makes the cache of the model whose recipe has this digest and whose
// vectors have dim components. It does not connect: a Redis that is down is no
// error. It fails on an invalid Config and on unreadable TLS files. A nil logger
// logs nothing; a nil reg registers no metrics, and two caches need two.
func New(cfg Config, digest [32]byte, dim int, logger *slog.Logger, reg prometheus.Registerer) (*Cache, error) {
	return newCache(cfg, digest, dim, logger, reg, time.Now)
}

func newCache(cfg Config, digest [32]byte, dim int, logger *slog.Logger, reg prometheus.Registerer, now func() time.Time) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if dim < 1 {
		return nil, fmt.Errorf("cache: a vector of %d dimensions cannot be kept", dim)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	t, err := parseDType(cfg.DType)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c := &Cache{cfg: cfg, codec: newCodec(t, dim, digest), logger: logger}
	c.prefix = cfg.Prefix + hex.EncodeToString(digest[:16]) + ":"
	c.memory = newMemory(cfg.MemoryBytes, c.codec.valueSize())
	if cfg.URL != "" {
		to, err := parseURL(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		if c.client, err = newClient(cfg, to); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		c.logger = logger.With("redis", to.addresses())
	}
	c.metrics = newMetrics(reg, c.memory)
	c.breaker = &breaker{cfg: cfg.Breaker, now: now, changed: c.redisChanged}
	return c, nil
}

// Get returns one embedding for each hash, in order; a miss has a nil Vector.
// Vectors are the caller's own, also where a hash is asked for twice.
func (c *Cache) Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding {
	out := make([]chunk.Embedding, len(hashes))
	var missing []chunk.Hash // each once
	at := map[chunk.Hash][]int{}
	for i, hash := range hashes {
		if _, known := at[hash]; known || !c.recall(hash, &out[i]) {
			if at[hash] = append(at[hash], i); !known {
				missing = append(missing, hash)
			}
		}
	}
	if c.client == nil {
		return out
	}
	c.lookup(ctx, missing, func(hash chunk.Hash, value []byte) outcome {
		result := miss
		for _, i := range at[hash] {
			var err error
			if out[i], err = c.codec.decode(hash, value); err != nil {
				c.logger.WarnContext(ctx, "a cached value is not what was stored; deleting it", "hash", hash.String(), "reason", err)
				return corrupt
			}
			result = hit
		}
		c.memory.add(hash, value)
		return result
	}, func(hash chunk.Hash, result outcome) {
		c.metrics.redis[result].Add(float64(len(at[hash])))
	})
	return out
}

// recall looks into the memory tier.
func (c *Cache) recall(hash chunk.Hash, into *chunk.Embedding) bool {
	value := c.memory.get(hash)
	if value == nil {
		c.metrics.memory[miss].Inc()
		return false
	}
	e, err := c.codec.decode(hash, value)
	if err != nil {
		// Its bytes were right when it was put here: this is bad memory.
		c.memory.drop(hash, value)
		c.metrics.memory[corrupt].Inc()
		return false
	}
	*into = e
	c.metrics.memory[hit].Inc()
	return true
}

// Put keeps embeddings (same length and order as hashes) and returns them as a
// later Get will, bit for bit: through the codec, and where Redis has a vector
// for the hash already, that one. An embedding without a vector is skipped. One
// that cannot be kept (another dimension, not finite, or zero in the stored
// type) is returned as it was given.
func (c *Cache) Put(ctx context.Context, hashes []chunk.Hash, embeddings []chunk.Embedding) []chunk.Embedding {
	out := slices.Clone(embeddings)
	values := make(map[chunk.Hash][]byte, len(hashes))
	var order []chunk.Hash // the keys of values
	for i, hash := range hashes {
		if embeddings[i].Vector == nil || values[hash] != nil {
			continue
		}
		value := c.memory.get(hash)
		if value == nil {
			var err error
			if value, err = c.codec.encode(hash, embeddings[i]); err != nil {
				c.metrics.stores[refused].Inc()
				c.logger.DebugContext(ctx, "a vector was not cached", "hash", hash.String(), "reason", err)
				continue
			}
		}
		values[hash], order = value, append(order, hash)
	}
	if c.client != nil {
		c.store(ctx, order, values)
	}
	for _, hash := range order {
		values[hash] = c.memory.add(hash, values[hash])
	}
	for i, hash := range hashes {
		if value := values[hash]; value != nil && embeddings[i].Vector != nil {
			if e, err := c.codec.decode(hash, value); err == nil {
				out[i] = e
			}
		}
	}
	return out
}

// Key is the name of a vector in Redis.
func (c *Cache) Key(hash chunk.Hash) string { return c.prefix + hash.String() }

// Size is what the memory tier holds now, in entries and in bytes with
// bookkeeping.
func (c *Cache) Size() (entries int, bytes int64) { return c.memory.size() }

// Forget empties the memory tier; Redis keeps what it has.
func (c *Cache) Forget() { c.memory.clear() }

// Close closes the connections to Redis. Nothing waits to be written.
func (c *Cache) Close() error {
	if c.client == nil {
		return nil
	}
	if err := c.client.Close(); err != nil {
		return fmt.Errorf("close the Redis client: %w", err)
	}
	return nil
}
