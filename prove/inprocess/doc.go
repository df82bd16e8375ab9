// Package inprocess proves the worker itself: the code that runs in production
// (consumer, pipeline, cache, sink, wired as cmd/chunktide does) on embedded
// Kafka, Redis and Qdrant, within one process, under faults that a seed or a
// script chooses. It holds nothing but tests.
//
// Each run lives in a bubble of testing/synctest, on a network in memory: the
// session timeouts, backoffs and lingers are those of production and cost
// nothing. The workload and the judge are package history's.
//
// What is held, in every run: a stored version never falls; no offset is
// committed whose records are not covered by the index or by an acknowledged
// dead letter; when all is committed, the index equals the fold of the log,
// vectors included, and the dead letters are exactly the records that belong
// there.
//
// Each scenario has a control: the same seed with one safety taken out must
// break what is held. A scenario whose control survives proves nothing, and the
// test says so.
//
// The tests need the build tag synctests, which the Kafka client has for this
// purpose: without it, whoever waits for one of its locks keeps the bubble's
// clock from going on. The locks are the only difference.
//
// A seed fixes the history, which faults come, and where; it does not fix in
// which order goroutines run. Rerun a seed that failed with
//
//	CHUNKTIDE_TEST_SEED=n go test -race -tags synctests -run TestSeeds ./prove/inprocess
//
// and run more of them with CHUNKTIDE_TEST_SEEDS=n.
package inprocess
