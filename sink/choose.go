package sink

import (
	"context"
	"fmt"

	"github.com/qdrant/go-client/qdrant"
)

// choose finds the collection that a worker writes to, and returns what the
// alias points to. In this order:
//
//  1. the one that cfg.Collection names;
//  2. the one of the worker's model that its group feeds already, whatever is
//     served now: after a promotion the old collection stays current;
//  3. the one that is served, if it is of the worker's model;
//  4. the one that has the name of the worker's model, which is made if nothing
//     is served.
//
// A group that feeds another collection of the index is refused: some of its
// events went there, and would be missing here.
func (s *Sink) choose(ctx context.Context) (served string, err error) {
	family, err := s.family(ctx)
	if err != nil {
		return "", err
	}
	if served, err = s.alias(ctx); err != nil {
		return "", err
	}
	var own, fed, target *member
	for _, m := range family {
		if m.name == s.collection {
			own = m
		}
		if s.cfg.Group != "" && m.metadata()[noteGroup+s.cfg.Group] != nil {
			fed = m
		}
		if m.name == served {
			target = m
		}
	}
	if s.cfg.Collection == "" {
		switch {
		case fed != nil && s.model.verify(fed.name, fed.info) == nil:
			s.collection = fed.name
		case target != nil && s.model.verify(target.name, target.info) == nil:
			s.collection = target.name
		case own != nil || served == "":
		default:
			return "", s.refuseServed(ctx, served, target)
		}
	}
	if fed != nil && fed.name != s.collection {
		return "", fmt.Errorf("the consumer group %s feeds collection %s (%s), and what it has read is missing in %s: give this worker a group of its own (kafka.group), so that it reads the topic from its beginning; chunktide migrate does it all",
			s.cfg.Group, fed.name, fed.modelVersion(), s.collection)
	}
	if served != "" && served != s.collection {
		s.logger.Warn("writing to a collection that is not the one searched: index promote or rollback would change that",
			"index", s.cfg.Index, "collection", s.collection, "searched", served)
	}
	return served, nil
}

func (m *member) modelVersion() string {
	model, _, _ := unpin(m.metadata())
	return model.Version
}

// refuseServed says why the collection that is served does not take the
// worker's vectors.
func (s *Sink) refuseServed(ctx context.Context, served string, target *member) error {
	var info *qdrant.CollectionInfo
	if target != nil {
		info = target.info
	} else { // not one of ours
		var err error
		if info, err = s.info(ctx, served); err != nil {
			return err
		}
	}
	return s.model.verify(served, info)
}
