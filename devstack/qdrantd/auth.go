package qdrantd

import (
	"context"
	"crypto/subtle"
	"log/slog"
	"strings"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// requireKey refuses what comes without the key. The health check is free, as
// in the real server.
func requireKey(key string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if info.FullMethod == pb.Qdrant_HealthCheck_FullMethodName {
			return handler(ctx, req)
		}
		given, ok := givenKey(ctx)
		if !ok {
			return nil, status.Error(codes.Unauthenticated, "Must provide an API key or an Authorization bearer token")
		}
		if subtle.ConstantTimeCompare([]byte(given), []byte(key)) != 1 {
			return nil, status.Error(codes.Unauthenticated, "Invalid API key or JWT")
		}
		return handler(ctx, req)
	}
}

func givenKey(ctx context.Context) (string, bool) {
	if keys := metadata.ValueFromIncomingContext(ctx, "api-key"); len(keys) > 0 {
		return keys[0], true
	}
	if tokens := metadata.ValueFromIncomingContext(ctx, "authorization"); len(tokens) > 0 {
		return strings.CutPrefix(tokens[0], "Bearer ")
	}
	return "", false
}

func logFailures(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		answer, err := handler(ctx, req)
		if err != nil {
			log.DebugContext(ctx, "embedded Qdrant refused a request", "method", info.FullMethod, "code", status.Code(err).String(), "error", err)
		}
		return answer, err
	}
}
