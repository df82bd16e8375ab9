package qdrantd

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The constructors name the error kinds of the real server; each has a status
// code and a prefix of its own.

// invalid is a request that cannot be read: it has no prefix.
func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// badInput is a request that does not fit the collection.
func badInput(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, "Wrong input: "+fmt.Sprintf(format, args...))
}

// badRequest is a request that makes no sense.
func badRequest(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, "Bad request: "+fmt.Sprintf(format, args...))
}

func notFound(format string, args ...any) error {
	return status.Error(codes.NotFound, "Not found: "+fmt.Sprintf(format, args...))
}

func alreadyExists(format string, args ...any) error {
	return status.Error(codes.AlreadyExists, "Wrong input: "+fmt.Sprintf(format, args...))
}

func unimplemented(what string) error {
	return status.Errorf(codes.Unimplemented, "%s: not in the embedded Qdrant server; use a real one", what)
}

func noCollection(name string) error {
	return notFound("Collection `%s` doesn't exist!", name)
}

func noPoint(id pointID) error {
	return notFound("No point with id %s found", id)
}

func noVector(name string) error {
	return badInput("Not existing vector name error: %s", name)
}

// rule is a field that broke a validation rule.
type rule struct{ field, problem string }

// validation is what the real server says of a request that breaks its rules.
func validation(broken ...rule) error {
	if len(broken) == 0 {
		return nil
	}
	list := ""
	for i, b := range broken {
		if i > 0 {
			list += "; "
		}
		list += b.field + ": " + b.problem
	}
	return invalid("Validation error in body: [%s]", list)
}
