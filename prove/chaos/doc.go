// Package chaos runs real workers against real servers while everything that
// may fail fails, and judges the index that is left.
//
// A run is one [Plan] and one seed. The seed makes the events
// (chunktide/prove/history) and the [Schedule]: which fault hits whom, when the
// stream has come how far. It is the stream that places the faults, not the
// clock, and the stream waits at each until it has begun; so a seed repeats its
// run as far as a run of several processes can be repeated. What happens
// between two faults is up to the machine.
//
// The world is a Kafka broker, a Redis, a Qdrant and the workers (`chunktide
// run`), each a process. Each worker reaches each server through a [Proxy] of
// its own, which delays, cuts, and loses answers to what was done. The harness
// talks to the servers directly.
//
// In the end all faults are over, everything is committed and all workers have
// stopped. Then the index, read with Qdrant's own client, is compared with the
// fold of the log, and the dead letters with what must be there; a watcher has
// read the index all along, to see a version fall. [Report] says what was
// injected and found.
//
// The control is the same run with workers that were built without the fence:
// it must find violations.
package chaos
