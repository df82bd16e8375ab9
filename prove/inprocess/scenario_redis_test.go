//go:build synctests

package inprocess

import (
	"time"

	"chunktide/chunk"
)

// redisScenarios are about what Redis holds, and whether it answers.
func redisScenarios() []scenario {
	return []scenario{
		tamperScenario("redis: a bit flipped", "the checksum", []string{wrongVector}, func(w *world, control bool) change {
			if control {
				return w.genuine(flip)
			}
			return flip
		}, nil),
		tamperScenario("redis: a value of another model", "the model's digest in the checksum", []string{wrongVector}, func(w *world, control bool) change {
			if control {
				return w.genuine(func(_ chunk.Hash, value []byte) []byte { return others(value) })
			}
			return w.foreign
		}, nil),
		// Its checksum is right: only the dimension tells.
		tamperScenario("redis: a value of another dimension", "reading what Redis holds through the codec", []string{letterWrong, stuck},
			func(w *world, _ bool) change { return w.shortened },
			func(w *world) { w.wrap = w.trustRedis }),
		{
			name: "redis: no answer in time, and FLUSHALL", proves: "the deadline of the cache", breaks: []string{stuck}, met: "redis: no answer in time",
			remove: func(w *world) { w.wrap = w.insistOnRedis },
			run: func(w *world) {
				w.cache.MemoryBytes = 0
				w.start("a", workers)
				w.portions(2, func(int) {
					w.mustSettle()
					w.stack.Redis.FlushAll()
					w.slowRedis(24 * time.Hour)
				})
			},
		},
	}
}

// change is what happens to a value in Redis.
type change = func(hash chunk.Hash, value []byte) []byte

// tamperScenario changes all vectors in Redis between two halves of a log whose
// contents repeat. Without the memory tier each is read again.
func tamperScenario(name, proves string, breaks []string, how func(w *world, control bool) change, remove func(*world)) scenario {
	control := false
	return scenario{
		name: name, proves: proves, breaks: breaks, met: name,
		remove: func(w *world) {
			control = true
			if remove != nil {
				remove(w)
			}
		},
		run: func(w *world) {
			w.cache.MemoryBytes = 0
			w.start("a", workers)
			w.portions(2, func(i int) {
				w.mustSettle()
				if i == 0 {
					w.tamper(name, 1, how(w, control))
				}
			})
		},
	}
}
