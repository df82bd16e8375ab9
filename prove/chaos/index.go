package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	qd "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"

	"chunktide/chunk"
	"chunktide/prove/history"
)

// index is what the workers write, seen with Qdrant's own client and none of
// the code under test.
type index struct {
	name, address string
	client        *qd.Client
}

// pageSize is how many points one read returns.
const pageSize = 1000

func newIndex(address string) (*index, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the address of Qdrant: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("the address of Qdrant: %w", err)
	}
	client, err := qd.NewClient(&qd.Config{
		Host: host, Port: port, SkipCompatibilityCheck: true,
		GrpcOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256 << 20))},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Qdrant at %s: %w", address, err)
	}
	return &index{name: fmt.Sprintf("chaos-%d-%d", os.Getpid(), time.Now().UnixNano()), address: address, client: client}, nil
}

func (x *index) serves(ctx context.Context) error {
	_, err := x.client.HealthCheck(ctx)
	return err
}

func (x *index) version(ctx context.Context) string {
	reply, err := x.client.HealthCheck(ctx)
	if err != nil {
		return "unknown"
	}
	return reply.GetVersion()
}

// each visits every point as it is now.
func (x *index) each(ctx context.Context, payload []string, vectors bool, visit func(*qd.RetrievedPoint)) error {
	var offset *qd.PointId
	for {
		answer, err := x.client.GetPointsClient().Scroll(ctx, &qd.ScrollPoints{
			CollectionName: x.name, Offset: offset, Limit: qd.PtrOf(uint32(pageSize)),
			WithPayload: qd.NewWithPayloadInclude(payload...), WithVectors: qd.NewWithVectors(vectors),
		})
		if err != nil {
			return fmt.Errorf("read the index: %w", err)
		}
		for _, p := range answer.GetResult() {
			visit(p)
		}
		if offset = answer.GetNextPageOffset(); offset == nil {
			return nil
		}
	}
}

// versions feeds the watch with what every point's version is now.
func (x *index) versions(ctx context.Context, watch *history.Watch) error {
	return x.each(ctx, []string{"_ct.ver"}, false, func(p *qd.RetrievedPoint) {
		if id, err := chunk.ParseID(p.GetId().GetUuid()); err == nil {
			watch.See(id, own(p)["ver"].GetIntegerValue())
		}
	})
}

func own(p *qd.RetrievedPoint) map[string]*qd.Value {
	return p.GetPayload()["_ct"].GetStructValue().GetFields()
}

// read is the whole index.
func (x *index) read(ctx context.Context) (points []history.Stored, err error) {
	err = x.each(ctx, []string{"source", "document_id", "chunk_id", "text", "_ct"}, true, func(p *qd.RetrievedPoint) {
		id, parseErr := chunk.ParseID(p.GetId().GetUuid())
		if parseErr != nil {
			id = chunk.ID{} // of nobody that we know, which the judge will say
		}
		vector := p.GetVectors().GetVectors().GetVectors()["text"]
		values := vector.GetDense().GetData()
		if values == nil {
			values = vector.GetData() //nolint:staticcheck // servers before 1.16 fill only this
		}
		f := p.GetPayload()
		points = append(points, history.Stored{
			ID: id, Source: f["source"].GetStringValue(), DocumentID: f["document_id"].GetStringValue(), ChunkID: f["chunk_id"].GetStringValue(),
			Version: own(p)["ver"].GetIntegerValue(), Tombstone: own(p)["tomb"].GetBoolValue(), Text: f["text"].GetStringValue(), Vector: values,
		})
	})
	return points, err
}

func (x *index) count(ctx context.Context) (uint64, error) {
	return x.client.Count(ctx, &qd.CountPoints{CollectionName: x.name, Exact: qd.PtrOf(true)})
}

// drop removes what the workers have made: the server may be somebody's own.
func (x *index) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	defer x.client.Close()
	names, err := x.client.ListCollections(ctx)
	if err != nil {
		return fmt.Errorf("drop the index: %w", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, x.name+"--") {
			if err := x.client.DeleteCollection(ctx, name); err != nil {
				return fmt.Errorf("drop the index: %w", err)
			}
		}
	}
	return nil
}
