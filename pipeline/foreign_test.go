package pipeline

import (
	"slices"
	"testing"

	"chunktide/chunk"
)

// A vector of an older, compatible model is not taken over: the text is encoded
// when its chunk changes, also where the update leaves the text out.
func TestForeignVectorsAreEncodedAgainWhenTheirChunkChanges(t *testing.T) {
	t.Parallel()
	for name, foreign := range map[string]bool{"foreign": true, "control: our own": false} {
		var l log
		first := newLine([]chunk.Event{l.put("a", "text of a", 1), l.put("b", "text of b", 1), l.put("c", "text of c", 1)})
		if err := first.run(); err != nil {
			t.Fatal(err)
		}
		old := []float32{7, 7, 7}
		for id, st := range first.sink.points {
			st.Foreign = foreign
			if st.Embedding.Vector = old; foreign {
				st.Embedding = chunk.Embedding{} // as the sink hands it out
			}
			first.sink.points[id] = st
		}
		next := first.with([]chunk.Event{l.put("a", "text of a", 2), l.unchanged("b", 2), l.put("c", "text of c", 1)})
		next.cache, next.encoder = &memCache{}, &memEncoder{}
		if err := next.run(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(next.encoder.texts)
		want := []string{"text of a", "text of b"}
		if !foreign {
			want = nil
		}
		if !slices.Equal(next.encoder.texts, want) {
			t.Errorf("%s: encoded %q, want %q", name, next.encoder.texts, want)
		}
		for id, st := range next.sink.points {
			chunkName := l.ids[id]
			fresh := slices.Equal(st.Embedding.Vector, vectorOf("text of "+chunkName))
			if wanted := foreign && chunkName != "c"; fresh != wanted || st.Text != "text of "+chunkName {
				t.Errorf("%s: %s has %v and %q", name, chunkName, st.Embedding.Vector, st.Text)
			}
		}
		if len(next.source.rejected) > 0 {
			t.Errorf("%s: rejected %v", name, next.source.rejected)
		}
	}
}
