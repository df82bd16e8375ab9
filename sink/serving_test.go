package sink

import (
	"errors"
	"strings"
	"testing"

	"github.com/qdrant/go-client/qdrant"
)

// Who encodes queries learns the model from the collection behind the alias.
func TestServingFollowsTheAlias(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		a, err := OpenAliases(s.cfg, quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		collection, model, err := a.Serving(t.Context(), s.cfg.Index)
		if err != nil || collection != s.collection || model != s.model {
			t.Errorf("%s, %+v, %v; want %s, %+v", collection, model, err, s.collection, s.model)
		}
		if _, _, err := a.Serving(t.Context(), s.cfg.Index+"-none"); !errors.Is(err, ErrNoAlias) {
			t.Errorf("an alias that is not there: %v", err)
		}
		next := s.cfg
		next.Collection = s.collection + "-next"
		other, err := Open(t.Context(), next, testModel("other"), quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		defer func() {
			_, _ = s.collect.Delete(t.Context(), &qdrant.DeleteCollection{CollectionName: next.Collection})
		}()
		_, err = s.collect.UpdateAliases(t.Context(), &qdrant.ChangeAliases{Actions: []*qdrant.AliasOperations{
			qdrant.NewAliasDelete(s.cfg.Index), qdrant.NewAliasCreate(s.cfg.Index, next.Collection),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if collection, model, err = a.Serving(t.Context(), s.cfg.Index); err != nil || collection != next.Collection || model != other.model {
			t.Errorf("after the promotion: %s, %+v, %v", collection, model, err)
		}
		// A collection that is none of ours names no model.
		_, err = s.collect.Create(t.Context(), &qdrant.CreateCollection{CollectionName: s.collection + "-foreign",
			VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 4, Distance: qdrant.Distance_Cosine})})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_, _ = s.collect.Delete(t.Context(), &qdrant.DeleteCollection{CollectionName: s.collection + "-foreign"})
		}()
		_, err = s.collect.UpdateAliases(t.Context(), &qdrant.ChangeAliases{Actions: []*qdrant.AliasOperations{
			qdrant.NewAliasDelete(s.cfg.Index), qdrant.NewAliasCreate(s.cfg.Index, s.collection+"-foreign"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = a.Serving(t.Context(), s.cfg.Index); err == nil || !strings.Contains(err.Error(), "names no model") {
			t.Errorf("a foreign collection: %v", err)
		}
	})
}
