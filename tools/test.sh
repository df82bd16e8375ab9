#!/bin/sh
# Every test. The race detector runs over everything but the benchmarks; real
# Kafka and Redis are started by the tests that need them and stopped again.
set -eu
cd "$(dirname "$0")/.."
exec go test -race -count=1 -timeout 45m "$@" ./...
