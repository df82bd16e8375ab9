//go:build chunktide_unfenced

package sink

// fenceOff takes the fence out of every write. It is the control of the chaos
// run (prove/chaos): a run that stays clean without the fence proves nothing.
// Nobody builds this to run it.
const fenceOff = true
