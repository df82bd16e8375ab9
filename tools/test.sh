#!/bin/sh
# Every test. The race detector runs over everything but the benchmarks; real
# Kafka and Redis are started by the tests that need them and stopped again.
set -eu
cd "$(dirname "$0")/.."
go test -race -count=1 -timeout 45m "$@" ./...
# The worker in bubbles of testing/synctest needs a build of its own.
go test -race -count=1 -timeout 45m -tags synctests "$@" ./prove/inprocess
# Memory is measured without the race detector, whose shadow drowns it.
exec go test -count=1 -run 'TestMemory' ./embedder
