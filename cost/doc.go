// Package cost tells what keeping an index costs, in three ways: by formula,
// by experiment, and from a running worker.
//
//   - [Plan] is arithmetic. A rebuild (the whole corpus through a new model) of N
//     chunks of T tokens at a price of p for each token costs N·T·p; R of them
//     cost R times as much. Of the texts a share h is known already, so that with
//     a cache it is (1−h)·N·T·p. Models are billed by tokens, which is why this is
//     linear; a GPU that is rented by the hour has a price for each token too,
//     once its tokens a second are known ([PerGPU]).
//   - [Sweep] is the experiment for the factor 1−h: streams with an exact
//     share of duplicates ([NewStream]) go through whatever pipeline it is given,
//     and the texts that reach the model must be (1−h)·N of them, to the text.
//   - [SinceStart] and [Between] say what a running worker spent and saved, from
//     its own counters ([Fetch]).
//
// What h is: the vectors in the cache belong to one model, and a rebuild is for
// a new one, so it starts with an empty cache. In a rebuild h is then the share
// of chunks whose text stands elsewhere in the corpus as well (licences,
// navigation, templates); it is not the hit rate of the live events.
//
// What it guarantees: amounts are exact. Numbers are read as decimals and
// reckoned with as fractions ([math/big.Rat]), so that no error adds up, and are
// rounded once, half away from zero, when they are printed. They are in
// whatever currency the price is in. Nothing here is safe for concurrent use,
// except that values may be read by many.
package cost
