package sink

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

func nanValue() float64 { return math.NaN() }

func TestOpenMakesWhatIsAbsent(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		if !strings.HasPrefix(s.Collection(), s.cfg.Index+"--m-") {
			t.Errorf("collection %s", s.Collection())
		}
		pin, err := s.Pin(t.Context())
		if err != nil || pin != s.model {
			t.Errorf("pin %+v, %v; want %+v", pin, err, s.model)
		}
		target, err := s.alias(t.Context())
		if err != nil || target != s.collection {
			t.Errorf("alias points to %q, %v", target, err)
		}
		info, err := s.info(t.Context(), s.collection)
		if err != nil {
			t.Fatal(err)
		}
		for field := range payloadIndexes() {
			if info.GetPayloadSchema()[field] == nil {
				t.Errorf("payload field %s is not indexed", field)
			}
		}
		// Opening again finds it all.
		again, err := Open(t.Context(), s.cfg, s.model, quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		detail, err := Check(t.Context(), s.cfg, s.model, quiet())
		if err != nil || !strings.Contains(detail, s.collection) {
			t.Errorf("Check: %q, %v", detail, err)
		}
	})
}

func TestManyWorkersOpenAtOnce(t *testing.T) {
	for name, addr := range servers(t) {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(addr)
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					s, err := Open(context.WithoutCancel(t.Context()), cfg, testModel("m"), quiet(), nil)
					if err != nil {
						t.Error(err)
						return
					}
					_ = s.Close()
				})
			}
			wg.Wait()
			open(t, cfg, testModel("m"))
		})
	}
}

func TestAnotherModelIsRefused(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		_, err := Open(t.Context(), s.cfg, testModel("other"), quiet(), nil)
		if err == nil || !strings.Contains(err.Error(), "migrate") || !strings.Contains(err.Error(), s.model.Version) {
			t.Errorf("Open = %v, want it to name both models and what to do", err)
		}
		if _, err := OpenReader(t.Context(), s.cfg, testModel("other"), quiet(), nil); err == nil {
			t.Error("a reader of another model was let in")
		}
		if _, err := Check(t.Context(), s.cfg, testModel("other"), quiet()); err == nil {
			t.Error("Check found nothing wrong")
		}
		// Nothing was made for the model that was refused.
		exists, err := s.exists(t.Context(), testModel("other").collection(s.cfg.Index))
		if err != nil || exists {
			t.Errorf("a collection was left behind: %t, %v", exists, err)
		}
	})
}

func TestACollectionOfSomebodyElseIsRefused(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		cfg := testConfig(s.cfg.Address)
		cfg.Collection = cfg.Index + "-foreign"
		_, err := s.collect.Create(t.Context(), &qdrant.CreateCollection{
			CollectionName: cfg.Collection,
			VectorsConfig: qdrant.NewVectorsConfigMap(map[string]*qdrant.VectorParams{
				vectorName: {Size: testDim, Distance: qdrant.Distance_Cosine},
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = s.collect.Delete(context.Background(), &qdrant.DeleteCollection{CollectionName: cfg.Collection})
		})
		if _, err := Open(t.Context(), cfg, s.model, quiet(), nil); err == nil || !strings.Contains(err.Error(), "not made by Chunktide") {
			t.Errorf("Open = %v", err)
		}
	})
}

func TestMissingIndex(t *testing.T) {
	for name, addr := range servers(t) {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(addr)
			if _, err := OpenReader(t.Context(), cfg, testModel("m"), quiet(), nil); err == nil || !strings.Contains(err.Error(), "chunktide run") {
				t.Errorf("OpenReader = %v, want it to say how the index is made", err)
			}
			cfg.Create = false
			if _, err := Open(t.Context(), cfg, testModel("m"), quiet(), nil); err == nil || !strings.Contains(err.Error(), "qdrant.create") {
				t.Errorf("Open = %v, want it to name qdrant.create", err)
			}
		})
	}
}

// The alias moves in one step: no search between fails or sees nothing.
func TestSearchFollowsTheAlias(t *testing.T) {
	contract(t, func(t *testing.T, s *Sink) {
		apply(t, s, upsert("a", "old", 1))
		cfg := s.cfg
		cfg.Collection = s.cfg.Index + "-next"
		next := open(t, cfg, s.model)
		apply(t, next, upsert("a", "new", 1))
		if got := found(t, s, "old"); got["a"] != "old" {
			t.Errorf("before: %v", got)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				hits, err := s.Search(context.WithoutCancel(t.Context()), unit(chunk.HashText("old")), 1)
				if err != nil || len(hits) != 1 {
					t.Errorf("during the switch: %v, %v", hits, err)
					return
				}
			}
		})
		for i := range 20 {
			if err := []*Sink{next, s}[i%2].createAlias(t.Context()); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		wg.Wait()
		if err := next.createAlias(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := found(t, s, "old"); got["a"] != "new" {
			t.Errorf("after: %v", got)
		}
	})
}

func TestSettingsThatCannotWork(t *testing.T) {
	bad := DefaultConfig()
	bad.Address, bad.Index, bad.Collection = "nonsense", "a/b", "c d"
	bad.APIKey, bad.RequestPoints, bad.TextKey, bad.MetadataKey = "k", 0, "_ct", ""
	bad.TLS.CertFile, bad.Retry.Max = "x", 0
	err := bad.Validate()
	for _, key := range []string{"address:", "index:", "collection:", "api_key:", "request_points:", "text_key:", "metadata_key:", "tls.cert_file", "tls.enabled:", "retry.max:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not reported in %v", key, err)
		}
	}
	if strings.Contains(err.Error(), `"k"`) {
		t.Error("the API key is printed")
	}
	for _, address := range []string{"http://u:hunter2@qdrant:6334", "u:hunter2@qdrant:6334", "hunter2@qdrant:6334"} {
		cfg := DefaultConfig()
		cfg.Address = address
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "address:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a password in the address: %v", err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults do not work: %v", err)
	}
}
