// Package backfill reads what is to be indexed from elsewhere than the live
// topic: from JSONL and Parquet files, or from the text that another
// collection stores. Its [Source] feeds the same pipeline that the live events
// go through.
//
// What it guarantees:
//
//   - Every state has a version from before it was read: the row's own, or
//     that of the time when the files were written ([AsOf]), or the one that
//     the other collection stored. So a backfill that runs beside the live
//     worker never replaces a newer state, and never brings a chunk back whose
//     delete has a version.
//   - No row is lost without a word: one that is malformed, or that the encoder
//     or the index refuses, is in the rejects, with its place and the reason,
//     durable before the rows after it count as done.
//   - What was acknowledged is not done again: the [Checkpoint] says how far
//     the input is durable in the index, and lies in the target collection
//     itself, so that it shares the collection's fate. A checkpoint in a file
//     would outlive a collection that is dropped, or restored from an older
//     snapshot, and its rows would be missing for good.
//   - An input that has changed is another input, and is read from the start.
//
// Events of one chunk apply in the order of their versions, as everywhere; of
// several with one version the first in the input stays. So input that has
// several states of a chunk must have versions.
package backfill
