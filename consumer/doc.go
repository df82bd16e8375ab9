// Package consumer reads change events from Kafka and commits them when they
// are durable. A [Source] hands out micro-batches over all partitions that its
// group member was assigned; each batch carries its own acknowledgement.
//
// What it guarantees:
//
//   - An offset is committed only when every record below it was acknowledged,
//     or is durable in the dead letters, by this member or by one that had the
//     partition before. It is the offset after the last such record, never a
//     count: compaction and transactions leave gaps.
//   - An acknowledgement counts for the assignment that its batch came from,
//     and for no later one. It never commits a partition that was taken away.
//   - A record that cannot be decoded is in the dead-letter topic, with every
//     replica's acknowledgement, before its batch can be acknowledged.
//   - Records that Kafka has lost or deleted before they were read end the
//     worker with an error. They are never skipped in silence.
//   - Memory is bounded: reading stops while the bytes handed out and not yet
//     acknowledged, with those waiting, exceed a budget.
//
// Delivery is at least once: after a crash, or when a rebalance had to go on
// without waiting for a slow batch, records come again. The index makes them
// harmless by the version that each event carries.
//
// # Non-obvious
//
// Rebalance callbacks never run between a poll's return and the moment its
// records are bound to their assignments (kgo.BlockRebalanceOnPoll). They do
// run while batches are in flight: a revoke then waits for those, for at most
// half the rebalance timeout, commits, and only then lets go.
//
// There is no max.poll.interval in this client: a member that makes no
// progress keeps its partitions as long as it sends heartbeats. Whoever runs
// the source watches for progress and exits without it.
package consumer
