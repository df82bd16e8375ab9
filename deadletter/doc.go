// Package deadletter is the dead letters as those who run an index meet them:
// which there are, what is to be done about them, and how to send them once
// more.
//
// What [Run] guarantees when it sends:
//
//   - Each letter is sent at most once, however often it is asked for, by however
//     many people at once, and wherever it is killed. Record and marker go out in
//     one Kafka transaction: a marker is a record beside the letters, in the
//     partition of the letter that it is of, so that it is there as long as the
//     letter is. A redrive first takes the transactional id of its dead-letter
//     topic, which ends any other that is under way and settles what that one left
//     open, and only then reads the markers.
//   - Letters of one original (a worker that died between the letter and its
//     commit writes two, and so do two groups of one topic) are one: it is sent
//     once.
//   - What is sent is the original to the byte: key, value, own headers and
//     timestamp, at the end of its own partition. Its version decides against what
//     came since, so that no newer state is overwritten; events for which that
//     does not hold are left where they are.
//
// A worker that reads with isolation read_uncommitted also sees what a
// transaction that was broken off had sent; the fence makes that harmless.
package deadletter
