package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/qdrant/go-client/qdrant"
)

// Aliases tells which model an alias serves, for whoever encodes queries.
type Aliases struct{ *client }

// ErrNoAlias means that Qdrant has no alias of that name.
var ErrNoAlias = errors.New("there is no such alias")

// OpenAliases connects; nothing is asked before [Aliases.Serving].
func OpenAliases(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Aliases, error) {
	c, err := dial(cfg, logger, reg)
	if err != nil {
		return nil, err
	}
	return &Aliases{c}, nil
}

// Serving returns the collection behind alias and the model that its queries
// are to be encoded with: the one that is pinned in it, or the last that
// adopted it ([Admin.Adopt]). Both are of one moment within the call. It tries
// until ctx ends if Qdrant does not answer.
func (a *Aliases) Serving(ctx context.Context, alias string) (collection string, model Model, err error) {
	if collection, err = a.target(ctx, alias); err != nil {
		return "", Model{}, err
	}
	if collection == "" {
		return "", Model{}, fmt.Errorf("alias %s: %w", alias, ErrNoAlias)
	}
	info, err := a.info(ctx, collection)
	if err != nil {
		return "", Model{}, err
	}
	_, layout, ok := unpin(info.GetConfig().GetMetadata())
	if !ok || layout != schema {
		return "", Model{}, fmt.Errorf("collection %s was not made by this version of Chunktide: its metadata names no model that is known; check the alias", collection)
	}
	return collection, queried(info.GetConfig().GetMetadata()), nil
}

// target returns the collection that an alias points to, or "".
func (c *client) target(ctx context.Context, alias string) (collection string, err error) {
	aliases, err := c.aliases(ctx)
	return targetOf(alias, aliases), err
}

func targetOf(alias string, list []*qdrant.AliasDescription) string {
	for _, a := range list {
		if a.GetAliasName() == alias {
			return a.GetCollectionName()
		}
	}
	return ""
}

func (c *client) aliases(ctx context.Context) (list []*qdrant.AliasDescription, err error) {
	err = c.do(ctx, opEnsure, func(ctx context.Context) error {
		answer, err := c.collect.ListAliases(ctx, &qdrant.ListAliasesRequest{})
		list = answer.GetAliases()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the aliases: %w", err)
	}
	return list, nil
}
