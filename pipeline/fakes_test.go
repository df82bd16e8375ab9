package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"chunktide/chunk"
)

// The fakes keep to the contracts in doc.go and fail where a test tells them.

// memSource hands out prepared batches, then io.EOF or, if it is live, waits.
type memSource struct {
	mu       sync.Mutex
	batches  [][]chunk.Event
	live     bool
	acked    int
	rejected map[chunk.Origin]error
	rejectFn func() error
}

func (s *memSource) Next(ctx context.Context) (chunk.Batch, error) {
	if ctx.Err() != nil {
		return chunk.Batch{}, ctx.Err()
	}
	s.mu.Lock()
	if len(s.batches) == 0 {
		s.mu.Unlock()
		if !s.live {
			return chunk.Batch{}, io.EOF
		}
		<-ctx.Done()
		return chunk.Batch{}, ctx.Err()
	}
	events := s.batches[0]
	s.batches = s.batches[1:]
	s.mu.Unlock()
	return chunk.Batch{
		Events: events,
		Ack:    func() { s.mu.Lock(); s.acked++; s.mu.Unlock() },
		Reject: func(rs []chunk.Rejection) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.rejectFn != nil {
				return s.rejectFn()
			}
			for _, r := range rs {
				if s.rejected == nil {
					s.rejected = map[chunk.Origin]error{}
				}
				s.rejected[events[r.Event].Origin] = r.Err
			}
			return nil
		},
	}, nil
}

// memEncoder makes a vector of a text's bytes and counts its work.
type memEncoder struct {
	mu     sync.Mutex
	texts  []string
	refuse func(text string) bool // by name, with the others served
	poison func(text string) bool // the whole call fails
	block  chan struct{}
	err    error
}

func vectorOf(text string) []float32 {
	h := chunk.HashText(text)
	return []float32{float32(h[0]) + 1, float32(h[1]), float32(h[2])}
}

func (e *memEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	if e.block != nil {
		<-e.block
	}
	if e.err != nil {
		return nil, e.err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]chunk.Embedding, len(texts))
	refused := &chunk.Rejected{Texts: map[int]error{}}
	for i, t := range texts {
		if e.poison != nil && e.poison(t) {
			return nil, chunk.Permanentf(chunk.ReasonEncoderRefused, "the run failed")
		}
		if e.refuse != nil && e.refuse(t) {
			refused.Texts[i] = chunk.Permanentf(chunk.ReasonTooManyTokens, "text has too many tokens")
			continue
		}
		e.texts = append(e.texts, t)
		out[i] = chunk.Embedding{Vector: vectorOf(t), Tokens: len(strings.Fields(t))}
	}
	if len(refused.Texts) > 0 {
		return out, refused
	}
	return out, nil
}

// memCache forgets everything when off.
type memCache struct {
	mu  sync.Mutex
	m   map[chunk.Hash]chunk.Embedding
	off bool
}

func (c *memCache) Get(_ context.Context, hashes []chunk.Hash) []chunk.Embedding {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]chunk.Embedding, len(hashes))
	for i, h := range hashes {
		out[i] = c.m[h]
	}
	return out
}

func (c *memCache) Put(_ context.Context, hashes []chunk.Hash, es []chunk.Embedding) []chunk.Embedding {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[chunk.Hash]chunk.Embedding{}
	}
	for i, h := range hashes {
		if !c.off {
			c.m[h] = es[i]
		}
	}
	return es
}

// memSink is the fence: the highest version stays.
type memSink struct {
	mu      sync.Mutex
	points  map[chunk.ID]chunk.Stored
	applies int
	refuse  func(chunk.Point) bool
	err     error
	block   chan struct{}
}

func (s *memSink) Apply(ctx context.Context, points []chunk.Point) error {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.applies++
	if s.points == nil {
		s.points = map[chunk.ID]chunk.Stored{}
	}
	seen := map[chunk.ID]bool{}
	for _, p := range points {
		if s.refuse != nil && s.refuse(p) {
			return chunk.Permanentf(chunk.ReasonIndexRefused, "invalid point")
		}
		if p.Version > 0 && seen[p.ID] {
			return fmt.Errorf("point %s stands twice in one request", p.ID)
		}
		seen[p.ID] = seen[p.ID] || p.Version > 0
	}
	for _, p := range points {
		s.applyOne(p)
	}
	return nil
}

func (s *memSink) applyOne(p chunk.Point) {
	old, ok := s.points[p.ID]
	if p.Version == 0 {
		if ok && old.Origin.SamePartition(p.Origin) && old.Origin.Offset < p.Origin.Offset {
			old.Tombstone, old.Text, old.Embedding = true, "", chunk.Embedding{}
			s.points[p.ID] = old
		}
		return
	}
	if ok && old.Version >= p.Version {
		return
	}
	st := chunk.Stored{Version: p.Version, Tombstone: p.Op != chunk.Upsert, Origin: p.Origin, EventTime: p.EventTime}
	if p.Op == chunk.Upsert {
		if len(p.Embedding.Vector) == 0 {
			panic("a living point without a vector reached the sink")
		}
		st.Hash, st.Text, st.Embedding = p.Hash, p.Text, p.Embedding
	}
	s.points[p.ID] = st
}

func (s *memSink) Read(_ context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[chunk.ID]chunk.Stored{}
	for _, id := range ids {
		if st, ok := s.points[id]; ok {
			if !content {
				st.Text, st.Embedding = "", chunk.Embedding{}
			}
			out[id] = st
		}
	}
	return out, nil
}

// live is the text of every living chunk, by chunk_id.
func (s *memSink) live(ids map[chunk.ID]string) map[string]string {
	out := map[string]string{}
	for id, st := range s.points {
		if !st.Tombstone {
			out[ids[id]] = st.Text
		}
	}
	return out
}

// log writes events as a producer would: one partition, rising offsets.
type log struct {
	next int64
	ids  map[chunk.ID]string
}

func (l *log) event(op chunk.Op, name, text string, version int64) chunk.Event {
	id := chunk.NewID("s", "d", name)
	if l.ids == nil {
		l.ids = map[chunk.ID]string{}
	}
	l.ids[id] = name
	l.next++
	return chunk.Event{
		Op: op, ID: id, Source: "s", DocumentID: "d", ChunkID: name, Text: text, Version: chunk.Version(version),
		Time: time.Unix(1_700_000_000+l.next, 0), Origin: chunk.Origin{Topic: "t", Offset: l.next},
	}
}

func (l *log) put(name, text string, v int64) chunk.Event {
	return l.event(chunk.Upsert, name, text, v)
}
func (l *log) del(name string, v int64) chunk.Event { return l.event(chunk.Delete, name, "", v) }
func (l *log) tombstone(name string) chunk.Event    { return l.event(chunk.Delete, name, "", 0) }
func (l *log) unchanged(name string, v int64) chunk.Event {
	e := l.event(chunk.Upsert, name, "", v)
	e.TextUnchanged = true
	return e
}

// line is a pipeline with its fakes.
type line struct {
	source  *memSource
	encoder *memEncoder
	cache   *memCache
	sink    *memSink
	reports []Report
	cfg     Config
}

func newLine(batches ...[]chunk.Event) *line {
	return &line{
		source: &memSource{batches: batches}, encoder: &memEncoder{}, cache: &memCache{}, sink: &memSink{},
		cfg: DefaultConfig(),
	}
}

func (l *line) pipeline() *Pipeline { return New(l.cfg, l.parts()) }

func (l *line) parts() Parts {
	return Parts{
		Source: l.source, Encoder: l.encoder, Cache: l.cache, Sink: l.sink,
		Observe: func(r Report) { l.reports = append(l.reports, r) },
		Logger:  slog.New(slog.DiscardHandler),
	}
}

func (l *line) run() error { return l.pipeline().Run(context.Background()) }

func (l *line) with(batches ...[]chunk.Event) *line {
	next := *l
	next.source = &memSource{batches: batches}
	next.reports = nil
	return &next
}

var errBroken = errors.New("broken")

func sameTexts(a, b map[string]string) bool { return maps.Equal(a, b) }
