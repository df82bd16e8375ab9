package qdrantd

import (
	"context"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

// UpdateAliases runs the actions in order, and no request sees a state between
// them. An action that fails ends the list; those before it stay done, as in
// the real server.
func (s *collectionsService) UpdateAliases(_ context.Context, req *pb.ChangeAliases) (*pb.CollectionOperationResponse, error) {
	begin := time.Now()
	if err := atLeastOne("timeout", req.Timeout); err != nil {
		return nil, err
	}
	for _, action := range req.GetActions() {
		if action.GetAction() == nil {
			return nil, invalid("Malformed AliasOperation type")
		}
	}
	err := s.store.changeAliases(func() error {
		for _, action := range req.GetActions() {
			if err := s.store.changeAlias(action); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return done(true, begin), nil
}

func (s *store) changeAlias(op *pb.AliasOperations) error {
	switch op := op.GetAction().(type) {
	case *pb.AliasOperations_CreateAlias:
		alias, target := op.CreateAlias.GetAliasName(), op.CreateAlias.GetCollectionName()
		if _, ok := s.collections[target]; !ok {
			return noCollection(target)
		}
		if _, ok := s.collections[alias]; ok {
			return alreadyExists("Collection `%s` already exists!", alias)
		}
		s.aliases[alias] = target
	case *pb.AliasOperations_RenameAlias:
		from, to := op.RenameAlias.GetOldAliasName(), op.RenameAlias.GetNewAliasName()
		target, ok := s.aliases[from]
		if !ok {
			return notFound("Alias %s does not exists!", from)
		}
		delete(s.aliases, from)
		s.aliases[to] = target
	case *pb.AliasOperations_DeleteAlias:
		delete(s.aliases, op.DeleteAlias.GetAliasName())
	}
	return nil
}

func (s *collectionsService) ListAliases(context.Context, *pb.ListAliasesRequest) (*pb.ListAliasesResponse, error) {
	return s.listAliases(""), nil
}

// ListCollectionAliases takes the collection's own name; there is nothing under
// another one.
func (s *collectionsService) ListCollectionAliases(_ context.Context, req *pb.ListCollectionAliasesRequest) (*pb.ListAliasesResponse, error) {
	if err := checkName(req.GetCollectionName()); err != nil {
		return nil, err
	}
	return s.listAliases(req.GetCollectionName()), nil
}

func (s *collectionsService) listAliases(collection string) *pb.ListAliasesResponse {
	begin := time.Now()
	pairs := s.store.aliasesOf(collection)
	list := make([]*pb.AliasDescription, len(pairs))
	for i, pair := range pairs {
		list[i] = &pb.AliasDescription{AliasName: pair[0], CollectionName: pair[1]}
	}
	return &pb.ListAliasesResponse{Aliases: list, Time: seconds(begin)}
}
