package cache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"chunktide/chunk"
)

// roundKeys bounds a pipeline, so that the timeout means the same for a batch
// of any size.
const roundKeys = 256

// lookup asks Redis for each hash. judge decides what a value is worth, and
// takes it over; counted is called once for each hash. What is corrupt is
// deleted.
func (c *Cache) lookup(ctx context.Context, hashes []chunk.Hash,
	judge func(chunk.Hash, []byte) outcome, counted func(chunk.Hash, outcome),
) {
	var bad []chunk.Hash
	for part := range slices.Chunk(hashes, roundKeys) {
		replies, ok := c.round(ctx, true, part, isWrongType, func(ctx context.Context, p redis.Pipeliner, hash chunk.Hash) {
			p.Get(ctx, c.Key(hash))
		})
		for i, hash := range part {
			result := failed
			if ok {
				result = c.readReply(replies[i], hash, judge)
			}
			counted(hash, result)
			if result == corrupt {
				bad = append(bad, hash)
			}
		}
	}
	c.remove(ctx, bad)
}

func (c *Cache) readReply(reply redis.Cmder, hash chunk.Hash, judge func(chunk.Hash, []byte) outcome) outcome {
	switch err := reply.Err(); {
	case errors.Is(err, redis.Nil):
		return miss
	case isWrongType(err):
		return corrupt
	case err != nil:
		return failed
	}
	get, ok := reply.(*redis.StringCmd)
	if !ok {
		return failed
	}
	// A copy, so that the memory tier holds on to nothing of the client's.
	return judge(hash, []byte(get.Val()))
}

// store writes what Redis does not have yet, and puts into values what it has.
func (c *Cache) store(ctx context.Context, hashes []chunk.Hash, values map[chunk.Hash][]byte) {
	for part := range slices.Chunk(hashes, roundKeys) {
		replies, ok := c.round(ctx, false, part, isReply, func(ctx context.Context, p redis.Pipeliner, hash chunk.Hash) {
			// Not SetNX: without a TTL that is another command, which the ACL
			// user would need too.
			p.SetArgs(ctx, c.Key(hash), values[hash], redis.SetArgs{Mode: "NX", TTL: c.cfg.TTL})
		})
		if !ok {
			c.metrics.stores[unwritten].Add(float64(len(part)))
			continue
		}
		var lost []chunk.Hash
		var refusal error
		for i, hash := range part {
			switch err := replies[i].Err(); {
			case err == nil:
				c.metrics.stores[written].Inc()
			case errors.Is(err, redis.Nil):
				c.metrics.stores[present].Inc()
				lost = append(lost, hash)
			default:
				c.metrics.stores[unwritten].Inc()
				if isReply(err) {
					refusal = err
				}
			}
		}
		c.noteRefusal(ctx, refusal)
		c.adopt(ctx, lost, values)
	}
}

// adopt reads the vectors that were in Redis before ours: another worker
// encoded the same text, or an earlier lookup had no answer. Everybody uses the
// first.
func (c *Cache) adopt(ctx context.Context, hashes []chunk.Hash, values map[chunk.Hash][]byte) {
	c.lookup(ctx, hashes, func(hash chunk.Hash, value []byte) outcome {
		if bytes.Equal(value, values[hash]) {
			return hit
		}
		if _, err := c.codec.decode(hash, value); err != nil {
			return corrupt
		}
		values[hash] = value
		return hit
	}, func(chunk.Hash, outcome) {})
}

// remove deletes what nobody can read. Should another worker have replaced it
// in between, that costs one model call.
func (c *Cache) remove(ctx context.Context, hashes []chunk.Hash) {
	for part := range slices.Chunk(hashes, roundKeys) {
		c.round(ctx, false, part, isReply, func(ctx context.Context, p redis.Pipeliner, hash chunk.Hash) {
			p.Del(ctx, c.Key(hash))
		})
	}
}

// round is one pipeline, bounded by the timeout. It returns a reply for each
// hash, each with an error of its own, or false if the commands did not run.
// Errors that neutral accepts say nothing about Redis's health.
func (c *Cache) round(ctx context.Context, mayProbe bool, hashes []chunk.Hash, neutral func(error) bool,
	queue func(context.Context, redis.Pipeliner, chunk.Hash),
) ([]redis.Cmder, bool) {
	t, ok := c.breaker.allow(mayProbe)
	if !ok {
		return nil, false
	}
	within, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	pipe := c.client.Pipeline()
	for _, hash := range hashes {
		queue(within, pipe, hash)
	}
	replies, err := pipe.Exec(within)
	var failure error
	unclear := false
	for _, r := range replies {
		switch err := r.Err(); {
		case err == nil || errors.Is(err, redis.Nil):
		case neutral(err):
			unclear = true
		case failure == nil:
			failure = err
		}
	}
	// Exec's error is the first of the replies', but for a login that failed:
	// then the replies are empty and look like good ones.
	ran := len(replies) == len(hashes) && (err == nil || failure != nil || unclear || errors.Is(err, redis.Nil))
	if !ran {
		failure = cmp.Or(err, errNoReplies)
	}
	switch {
	case failure != nil && ctx.Err() == nil:
		c.breaker.failed(t, failure)
	case failure != nil || unclear:
		c.breaker.abandoned(t)
	default:
		c.breaker.succeeded(t)
	}
	return replies, ran
}

var errNoReplies = errors.New("the client library ran no commands")

// isReply tells an error that Redis answered from one of the connection. On a
// write it may be OOM or READONLY, while lookups go on as ever.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !errors.Is(err, redis.Nil)
}

// isWrongType: the key holds a list or the like, so it is none of ours.
func isWrongType(err error) bool { return err != nil && redis.HasErrorPrefix(err, "WRONGTYPE") }

// noteRefusal logs when Redis stops taking writes and when it starts again.
func (c *Cache) noteRefusal(ctx context.Context, refusal error) {
	switch was := c.refusing.Swap(refusal != nil); {
	case refusal != nil && !was:
		c.logger.WarnContext(ctx, "Redis takes no vectors; they are kept in memory only "+
			"(set a maxmemory-policy that evicts, or look at the ACL user)", "error", refusal)
	case refusal == nil && was:
		c.logger.InfoContext(ctx, "Redis takes vectors again")
	}
}

// redisChanged is told by the breaker when it opens and when it closes.
func (c *Cache) redisChanged(cause error) {
	if cause != nil {
		c.metrics.up.Set(0)
		c.logger.Warn("Redis does not answer; what is not in memory is encoded until it does",
			"error", cause, "retry_in", c.cfg.Breaker.Retry)
		return
	}
	c.metrics.up.Set(1)
	c.logger.Info("Redis answers again")
}

// Ping checks, for a person, that Redis can be reached and lets us do what we
// need: it writes, reads and deletes a key of its own. Without Redis it returns
// nil. It asks past the breaker and leaves it alone.
func (c *Cache) Ping(ctx context.Context) error {
	if c.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(c.cfg.Timeout, 5*time.Second))
	defer cancel()
	const hint = "(grant the ACL user ~%s* +get +set +del +ping, and let maxmemory-policy evict)"
	switch err := c.client.Ping(ctx).Err(); {
	case redis.IsPermissionError(err):
		return fmt.Errorf("ping Redis "+hint+": %w", c.cfg.Prefix, err)
	case err != nil:
		return fmt.Errorf("reach Redis (check cache.url, cache.username, cache.password and cache.tls): %w", err)
	}
	var hash chunk.Hash
	if _, err := rand.Read(hash[:]); err != nil {
		return fmt.Errorf("make a random key: %w", err)
	}
	key, value := c.Key(hash), hash.String()
	if err := c.client.SetArgs(ctx, key, value, redis.SetArgs{Mode: "NX", TTL: time.Minute}).Err(); err != nil {
		return fmt.Errorf("write to Redis "+hint+": %w", c.cfg.Prefix, err)
	}
	got, err := c.client.Get(ctx, key).Result()
	if err != nil {
		return fmt.Errorf("read from Redis "+hint+": %w", c.cfg.Prefix, err)
	}
	if got != value {
		return errChanged
	}
	if err := c.client.Del(ctx, key).Err(); err != nil {
		return fmt.Errorf("delete from Redis "+hint+": %w", c.cfg.Prefix, err)
	}
	return nil
}

var errChanged = errors.New("another value came back from Redis than was just written: something else writes under cache.prefix")
