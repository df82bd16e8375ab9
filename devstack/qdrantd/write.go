package qdrantd

import (
	"context"
	"log/slog"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

type pointsService struct {
	pb.UnimplementedPointsServer
	store *store
	log   *slog.Logger
}

// operation is one write, read from a request. Both methods are called with the
// collection locked.
type operation interface {
	// bind checks the operation against the collection. It changes nothing,
	// and its error is told whether or not the client waits.
	bind(c *collection) error
	// apply does it; version is the number of the operation. The client hears
	// of its error only if it waits.
	apply(c *collection, version uint64) error
}

// write applies one operation to the collection that the name stands for now.
func (s *pointsService) write(ctx context.Context, name string, wait bool, op operation) (*pb.UpdateResult, error) {
	c, err := s.store.resolve(name)
	if err != nil {
		return nil, err
	}
	version, applied, err := c.write(op)
	switch {
	case err != nil && (wait || !applied):
		return nil, err
	case err != nil:
		s.log.DebugContext(ctx, "embedded Qdrant: an operation failed that nobody waits for", "collection", name, "error", err)
	}
	result := &pb.UpdateResult{OperationId: &version, Status: pb.UpdateStatus_Completed}
	if !wait {
		result.Status = pb.UpdateStatus_Acknowledged
	}
	return result, nil
}

// write says by applied whether the operation was taken in, even if it failed
// then.
func (c *collection) write(op operation) (version uint64, applied bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := op.bind(c); err != nil {
		return 0, false, err
	}
	version = c.operations
	c.operations++
	return version, true, op.apply(c, version)
}

// answer is write for a request of one operation.
func (s *pointsService) answer(ctx context.Context, name string, wait bool, op operation, err error) (*pb.PointsOperationResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(name), err); err != nil {
		return nil, err
	}
	result, err := s.write(ctx, name, wait, op)
	if err != nil {
		return nil, err
	}
	return &pb.PointsOperationResponse{Result: result, Time: seconds(begin)}, nil
}

func (s *pointsService) Upsert(ctx context.Context, req *pb.UpsertPoints) (*pb.PointsOperationResponse, error) {
	op, err := readUpsert(req.GetPoints(), req.GetUpdateFilter(), req.GetUpdateMode())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) Delete(ctx context.Context, req *pb.DeletePoints) (*pb.PointsOperationResponse, error) {
	op, err := readDelete(req.GetPoints())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) UpdateVectors(ctx context.Context, req *pb.UpdatePointVectors) (*pb.PointsOperationResponse, error) {
	op, err := readUpdateVectors(req.GetPoints(), req.GetUpdateFilter())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) DeleteVectors(ctx context.Context, req *pb.DeletePointVectors) (*pb.PointsOperationResponse, error) {
	op, err := readDeleteVectors(req.GetPointsSelector(), req.GetVectors())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) SetPayload(ctx context.Context, req *pb.SetPayloadPoints) (*pb.PointsOperationResponse, error) {
	op, err := readSetPayload(req.GetPointsSelector(), req.GetPayload(), req.Key)
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) OverwritePayload(ctx context.Context, req *pb.SetPayloadPoints) (*pb.PointsOperationResponse, error) {
	op, err := readOverwritePayload(req.GetPointsSelector(), req.GetPayload())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) DeletePayload(ctx context.Context, req *pb.DeletePayloadPoints) (*pb.PointsOperationResponse, error) {
	op, err := readDeletePayload(req.GetPointsSelector(), req.GetKeys())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) ClearPayload(ctx context.Context, req *pb.ClearPayloadPoints) (*pb.PointsOperationResponse, error) {
	op, err := readClearPayload(req.GetPoints())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) CreateFieldIndex(ctx context.Context, req *pb.CreateFieldIndexCollection) (*pb.PointsOperationResponse, error) {
	op, err := readCreateIndex(req)
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

func (s *pointsService) DeleteFieldIndex(ctx context.Context, req *pb.DeleteFieldIndexCollection) (*pb.PointsOperationResponse, error) {
	op, err := readDeleteIndex(req.GetFieldName())
	return s.answer(ctx, req.GetCollectionName(), req.GetWait(), op, err)
}

// UpdateBatch applies operations in order. One that fails ends the batch; those
// before it stay applied. The name is looked up for each, so a switch of an
// alias may part a batch.
func (s *pointsService) UpdateBatch(ctx context.Context, req *pb.UpdateBatchPoints) (*pb.UpdateBatchResponse, error) {
	begin := time.Now()
	if err := checkName(req.GetCollectionName()); err != nil {
		return nil, err
	}
	if len(req.GetOperations()) == 0 {
		return nil, validation(rule{"operations", "value [] invalid, must be at least 1 characters"})
	}
	results := make([]*pb.UpdateResult, len(req.GetOperations()))
	for i, given := range req.GetOperations() {
		op, err := readOperation(given)
		if err != nil {
			return nil, err
		}
		if results[i], err = s.write(ctx, req.GetCollectionName(), req.GetWait(), op); err != nil {
			return nil, err
		}
	}
	return &pb.UpdateBatchResponse{Result: results, Time: seconds(begin)}, nil
}

func readOperation(given *pb.PointsUpdateOperation) (operation, error) {
	switch op := given.GetOperation().(type) {
	case *pb.PointsUpdateOperation_Upsert:
		return readUpsert(op.Upsert.GetPoints(), op.Upsert.GetUpdateFilter(), op.Upsert.GetUpdateMode())
	case *pb.PointsUpdateOperation_DeletePoints_:
		return readDelete(op.DeletePoints.GetPoints())
	case *pb.PointsUpdateOperation_DeleteDeprecated:
		return readDelete(op.DeleteDeprecated) //nolint:staticcheck // old clients send it
	case *pb.PointsUpdateOperation_UpdateVectors_:
		return readUpdateVectors(op.UpdateVectors.GetPoints(), op.UpdateVectors.GetUpdateFilter())
	case *pb.PointsUpdateOperation_DeleteVectors_:
		return readDeleteVectors(op.DeleteVectors.GetPointsSelector(), op.DeleteVectors.GetVectors())
	case *pb.PointsUpdateOperation_SetPayload_:
		return readSetPayload(op.SetPayload.GetPointsSelector(), op.SetPayload.GetPayload(), op.SetPayload.Key)
	case *pb.PointsUpdateOperation_OverwritePayload_:
		return readOverwritePayload(op.OverwritePayload.GetPointsSelector(), op.OverwritePayload.GetPayload())
	case *pb.PointsUpdateOperation_DeletePayload_:
		return readDeletePayload(op.DeletePayload.GetPointsSelector(), op.DeletePayload.GetKeys())
	case *pb.PointsUpdateOperation_ClearPayload_:
		return readClearPayload(op.ClearPayload.GetPoints())
	case *pb.PointsUpdateOperation_ClearPayloadDeprecated:
		return readClearPayload(op.ClearPayloadDeprecated) //nolint:staticcheck // old clients send it
	default:
		return nil, invalid("Operation is missing")
	}
}
