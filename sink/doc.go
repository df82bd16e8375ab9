// Package sink stores points in Qdrant, and reads and searches them.
//
// What it guarantees:
//
//   - A write is conditional: Qdrant replaces a point only by a higher version
//     (the fence). So the stored state is the maximum of all that was ever
//     written, whatever the order, and writing again does no harm.
//   - [Sink.Apply] returns nil only when Qdrant has said Completed for each
//     write. A timeout counts as nothing: the write is repeated.
//   - A delete is a versioned tombstone without text and vector, so that a
//     late, older upsert does not bring the chunk back.
//   - A collection holds vectors of one model: its recipe is pinned in the
//     collection's metadata, and another model is refused.
//
// Writes go to the concrete collection, never through the alias that readers
// use. A Sink is safe for concurrent use.
package sink
