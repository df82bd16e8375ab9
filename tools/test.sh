#!/bin/sh
# Every test. The race detector runs over everything but the benchmarks; real
# Kafka and Redis are started by the tests that need them and stopped again.
set -eu
cd "$(dirname "$0")/.."
go test -race -count=1 -timeout 45m "$@" ./...
# The worker in bubbles of testing/synctest needs a build of its own.
go test -race -count=1 -timeout 45m -tags synctests "$@" ./prove/inprocess
# Hugging Face's tokenizers, which a build tag links in; set-up builds them where
# cargo is.
if [ "${CHUNKTIDE_TEST_REAL:-1}" != 0 ]; then
	if tools/setup/tokenizers.sh --check; then
		go test -race -count=1 -timeout 45m -tags hftokenizers "$@" ./embedder/tokenizer
		go test -count=1 -tags hftokenizers -run 'TestModelWith' ./embedder
		go test -count=1 -tags hftokenizers -run 'TestMemory|TestEveryNormalizer' ./embedder/tokenizer
	else
		echo "LEFT OUT: the tests of BPE and Unigram tokenizers (tag hftokenizers): install Rust 1.85 or later, and make test runs them" >&2
	fi
fi
# Memory is measured without the race detector, whose shadow drowns it.
exec go test -count=1 -run 'TestMemory' ./embedder
