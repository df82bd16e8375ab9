//go:build !chunktide_unfenced

package sink

// fenceOff is what a worker is built with: no setting turns the fence off. See
// unfenced.go.
const fenceOff = false
