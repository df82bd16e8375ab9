// Package qdrantd is a Qdrant server inside the process, for demonstrations and
// tests. Production is the real server: this one keeps everything in memory,
// searches by looking at every vector, and forgets all when it stops.
//
// It speaks Qdrant's gRPC protocol on a real TCP port (the server interfaces
// that the Go client generates), so that a program has one code path to a
// server, whichever it is. What it answers follows Qdrant 1.18: the effect of
// every operation, the status code of every error and, as far as they are
// stable, the messages. What it does not have answers codes.Unimplemented:
// snapshots, shards, sparse and multi-vectors, recommendation, discovery,
// fusion, grouping, geographic conditions.
//
// Where it is simpler than the real server:
//
//   - A request without wait is applied before the answer, which still says
//     Acknowledged. What goes wrong in the application is then not reported,
//     as with the real one.
//   - Each operation is atomic and seen by readers as a whole. The operations
//     of a batch are atomic one by one.
//   - Search is exact. Equal scores are ordered by id.
//   - An upsert without vectors leaves nothing of the old ones. (Up to 1.18 the
//     real server may go on finding the old vector of an optimized segment.)
//   - A condition that a filter demands and forbids at once selects nothing.
//     (The real one may forget the second.)
//   - Count is exact always.
package qdrantd
