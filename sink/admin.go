package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Admin looks at the collections of an index and changes which one is served:
// what people do by hand, while the workers run. It is safe for concurrent
// use, and beside other Admins.
type Admin struct{ *client }

// OpenAdmin connects; nothing is asked before a method is called.
func OpenAdmin(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Admin, error) {
	c, err := dial(cfg, logger, reg)
	if err != nil {
		return nil, err
	}
	return &Admin{c}, nil
}

// Index is the alias that readers search.
func (a *Admin) Index() string { return a.cfg.Index }

// Reach asks whether Qdrant answers, again and again until ctx ends.
func (a *Admin) Reach(ctx context.Context) error {
	err := a.do(ctx, opEnsure, func(ctx context.Context) error {
		_, err := a.conn.GetQdrantClient().HealthCheck(ctx, &qdrant.HealthCheckRequest{})
		return err
	})
	if err != nil {
		return fmt.Errorf("reach Qdrant: %w", err)
	}
	return nil
}

// Collection is one collection of an index.
type Collection struct {
	Name string `json:"collection"`
	// Model is the pinned one.
	Model Model `json:"model"`
	// Adopted are the models that write to it as well, in the order in which they
	// came; queries are for the last. See [Admin.Adopt].
	Adopted []Model `json:"adopted,omitempty"`
	// Serving says that the index's alias points to it; Aliases are all that
	// do, also other people's.
	Serving bool     `json:"serving"`
	Aliases []string `json:"aliases"`
	// Points counts everything, exactly; Tombstones are some of them.
	Points     int `json:"points"`
	Tombstones int `json:"tombstones"`
	// VectorBytes is what the vectors take as float32, computed: Qdrant's API
	// does not tell what a collection takes on disk or in memory.
	VectorBytes int64 `json:"vector_bytes"`
	// Status is Qdrant's own word: green, yellow (it optimises), grey, red.
	Status string `json:"status"`
	// Previous is what the alias pointed to before it came to this one.
	Previous string `json:"previous,omitempty"`
	// Groups are the consumer groups whose events come here.
	Groups []string `json:"groups"`
	// Notes is the metadata beside the pin, as JSON has it.
	Notes map[string]any `json:"notes,omitempty"`
}

// List describes the collections of the index, in the order of their names.
// Those of other indexes and of other people are left out.
func (a *Admin) List(ctx context.Context) ([]Collection, error) {
	family, err := a.family(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Collection, 0, len(family))
	for _, m := range family {
		c, err := a.describe(ctx, m)
		if status.Code(err) == codes.NotFound {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// Get describes one collection of the index by its name; "" is the one that
// is served.
func (a *Admin) Get(ctx context.Context, name string) (Collection, error) {
	m, err := a.member(ctx, name)
	if err != nil {
		return Collection{}, err
	}
	return a.describe(ctx, m)
}

// NameFor is the name of the collection that [Admin.Create] makes.
func (a *Admin) NameFor(model Model) string {
	if a.cfg.Collection != "" {
		return a.cfg.Collection
	}
	return model.collection(a.cfg.Index)
}

// Create makes the collection of a model, under the name that a worker of it
// would choose unless cfg.Collection names another, and leaves the alias where
// it is. One that is there is verified.
func (a *Admin) Create(ctx context.Context, model Model) (name string, err error) {
	cfg := a.cfg
	cfg.Create = true
	s, err := newSink(cfg, model, a.logger, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.collection, s.ensureCollection(ctx)
}

// member is a collection that belongs to the index.
type member struct {
	name    string
	info    *qdrant.CollectionInfo
	aliases []string
	serving bool
}

func (m *member) metadata() map[string]*qdrant.Value { return m.info.GetConfig().GetMetadata() }

// family finds the collections that belong to the index: those that say so in
// their metadata, those that have its name (older versions noted nothing), and
// the one behind the alias. All of them were made by Chunktide.
func (c *client) family(ctx context.Context) ([]*member, error) {
	var names []string
	var aliases []*qdrant.AliasDescription
	err := c.do(ctx, opEnsure, func(ctx context.Context) error {
		answer, err := c.collect.List(ctx, &qdrant.ListCollectionsRequest{})
		names = names[:0]
		for _, d := range answer.GetCollections() {
			names = append(names, d.GetName())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the collections: %w", err)
	}
	if aliases, err = c.aliases(ctx); err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []*member
	for _, name := range names {
		info, err := c.info(ctx, name)
		if status.Code(err) == codes.NotFound {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, err
		}
		m := &member{name: name, info: info}
		for _, a := range aliases {
			if a.GetCollectionName() == name && !isGuard(c.cfg.Index, a.GetAliasName()) {
				m.aliases = append(m.aliases, a.GetAliasName())
				m.serving = m.serving || a.GetAliasName() == c.cfg.Index
			}
		}
		if m.belongs(c.cfg.Index) {
			out = append(out, m)
		}
	}
	return out, nil
}

func (m *member) belongs(index string) bool {
	if _, _, pinned := unpin(m.metadata()); !pinned {
		return false
	}
	named := m.metadata()[noteIndex].GetStringValue()
	return m.serving || named == index || named == "" && strings.HasPrefix(m.name, index+"--")
}

func (a *Admin) member(ctx context.Context, name string) (*member, error) {
	family, err := a.family(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, m := range family {
		if m.name == name || name == "" && m.serving {
			return m, nil
		}
		known = append(known, m.name)
	}
	if name == "" {
		return nil, fmt.Errorf("index %s: %w", a.cfg.Index, ErrNoAlias)
	}
	return nil, fmt.Errorf("index %s has no collection %s: it has %s", a.cfg.Index, name, orNone(known))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (a *Admin) describe(ctx context.Context, m *member) (Collection, error) {
	model, _, _ := unpin(m.metadata())
	c := Collection{
		Name: m.name, Model: model, Serving: m.serving, Aliases: m.aliases, Status: strings.ToLower(m.info.GetStatus().String()),
		Previous: m.metadata()[notePrevious].GetStringValue(), Groups: groupsOf(m.metadata()), Adopted: adopted(m.metadata()), Notes: notesOf(m.metadata()),
	}
	r := &reader{client: a.client, model: model, collection: m.name}
	all, err := r.count(ctx, nil)
	if err != nil {
		return c, err
	}
	living, err := r.Live(ctx)
	if err != nil {
		return c, err
	}
	// Counted one after the other; what was written meanwhile is no tombstone.
	c.Points, c.Tombstones = max(all, living), max(0, all-living)
	c.VectorBytes = int64(living) * int64(model.Dim) * 4
	return c, nil
}
