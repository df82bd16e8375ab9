package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	qd "github.com/qdrant/go-client/qdrant"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/sink"
)

// replay is (c): a topic all of whose vectors are in Redis, read into an empty
// index, against a loop that sends the very same points with the very same
// conditions by Qdrant's client and does nothing else.
func replay(ctx context.Context, s *Stage, o Options) (r Result, err error) {
	n := o.sized(60_000)
	topic, cfg, encoder, err := s.filled(ctx, "replay", n, nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	if err := s.fillCache(ctx, cfg, encoder.Recipe(), n); err != nil {
		return r, err
	}
	prefix := cfg.Cache.Prefix

	var points []*qd.PointStruct
	m, err := r.compare(o, "events/s", func() (worker, bare float64, err error) {
		if cfg, err = s.config(topic, "cache.prefix="+prefix); err != nil {
			return 0, 0, err
		}
		if worker, err = endToEnd(ctx, cfg, encoder, n, settled.count); err != nil {
			return 0, 0, err
		}
		bare, err = s.bareUpserts(ctx, cfg, encoder.Recipe(), &points)
		return worker, bare, err
	})
	if err != nil {
		return r, err
	}
	r.Bar, r.Met = "≥ 0.9", m >= .9
	r.Note = fmt.Sprintf("%d events, %d dimensions, %d points a request; the bare loop sends one request after the other, of points made beforehand.",
		n, encoder.Recipe().Dim, cfg.Qdrant.RequestPoints)
	return r, nil
}

// fillCache gives the first n texts vectors of no meaning.
func (s *Stage) fillCache(ctx context.Context, cfg configs.Config, recipe embedder.Recipe, n int) (err error) {
	c, err := cache.New(cfg.Cache, recipe.Digest(), recipe.Dim, quiet(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rng := rand.New(rand.NewPCG(1, 2))
	for from := 0; from < n; from += 256 {
		var hashes []chunk.Hash
		var embeddings []chunk.Embedding
		for i := from; i < min(from+256, n); i++ {
			v := make([]float32, recipe.Dim)
			for k := range v {
				v[k] = rng.Float32() - .5
			}
			hashes, embeddings = append(hashes, chunk.HashText(s.text(i))), append(embeddings, chunk.Embedding{Vector: v, Tokens: 50})
		}
		c.Put(ctx, hashes, embeddings)
	}
	return nil
}

// bareUpserts writes the points that the worker wrote into an empty collection
// of the same kind, and returns how many a second. Points are read the first
// time and kept.
func (s *Stage) bareUpserts(ctx context.Context, cfg configs.Config, recipe embedder.Recipe, points *[]*qd.PointStruct) (rate float64, err error) {
	client, err := s.qdrant()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if *points == nil { // the index's name is an alias of what the worker wrote
		if *points, err = readPoints(ctx, client, cfg.Qdrant.Index); err != nil {
			return 0, err
		}
	}
	empty := cfg.Qdrant
	empty.Index = s.name("bare")
	index, err := sink.Open(ctx, empty, worker.ModelPin(recipe), quiet(), nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	return upsert(ctx, client, index.Collection(), *points, cfg.Qdrant.RequestPoints)
}

// qdrant is a client of the index's server, past the worker's own.
func (s *Stage) qdrant() (*qd.Client, error) {
	host, port, err := net.SplitHostPort(s.QdrantAddr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	return qd.NewClient(&qd.Config{Host: host, Port: number, SkipCompatibilityCheck: true})
}

func readPoints(ctx context.Context, client *qd.Client, collection string) (points []*qd.PointStruct, err error) {
	var offset *qd.PointId
	for {
		page, err := client.GetPointsClient().Scroll(ctx, &qd.ScrollPoints{
			CollectionName: collection, Offset: offset, Limit: qd.PtrOf(uint32(1000)),
			WithPayload: qd.NewWithPayload(true), WithVectors: qd.NewWithVectors(true),
		})
		if err != nil {
			return nil, err
		}
		for _, p := range page.GetResult() {
			vectors := map[string]*qd.Vector{}
			for name, v := range p.GetVectors().GetVectors().GetVectors() {
				vectors[name] = qd.NewVectorDense(v.GetDense().GetData())
			}
			points = append(points, &qd.PointStruct{Id: p.GetId(), Payload: p.GetPayload(), Vectors: qd.NewVectorsMap(vectors)})
		}
		if offset = page.GetNextPageOffset(); offset == nil {
			return points, nil
		}
	}
}

// upsert sends the points, n at a time, each under the condition that the
// index has no version as high.
func upsert(ctx context.Context, client *qd.Client, collection string, points []*qd.PointStruct, n int) (rate float64, err error) {
	var requests []*qd.UpdateBatchPoints
	for from := 0; from < len(points); from += n {
		part := points[from:min(from+n, len(points))]
		held := make([]*qd.Condition, len(part))
		for i, p := range part {
			version := float64(p.GetPayload()["_ct"].GetStructValue().GetFields()["ver"].GetIntegerValue())
			held[i] = qd.NewFilterAsCondition(&qd.Filter{Must: []*qd.Condition{
				qd.NewHasID(p.GetId()), qd.NewRange("_ct.ver", &qd.Range{Gte: &version}),
			}})
		}
		requests = append(requests, &qd.UpdateBatchPoints{
			CollectionName: collection, Wait: qd.PtrOf(true),
			Operations: []*qd.PointsUpdateOperation{{Operation: &qd.PointsUpdateOperation_Upsert{
				Upsert: &qd.PointsUpdateOperation_PointStructList{
					Points: part, UpdateFilter: &qd.Filter{MustNot: []*qd.Condition{qd.NewFilterAsCondition(&qd.Filter{Should: held})}},
				},
			}}},
		})
	}
	began := time.Now()
	for _, r := range requests {
		if _, err := client.UpdateBatch(ctx, r); err != nil {
			return 0, err
		}
	}
	return float64(len(points)) / time.Since(began).Seconds(), nil
}
