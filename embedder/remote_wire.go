package embedder

// The headers in which a Chunktide service says which recipe answered; package
// service tells more.
const (
	HeaderModelVersion = "Chunktide-Model-Version"
	HeaderModelDigest  = "Chunktide-Model-Digest"
	HeaderCollection   = "Chunktide-Collection"
)

// DefaultRemoteModel asks a Chunktide service for the model that it answers
// with when none is named.
const DefaultRemoteModel = "default"

// EncoderRemote is an encoder elsewhere, behind HTTP.
const EncoderRemote = "remote"
