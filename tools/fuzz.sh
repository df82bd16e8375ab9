#!/bin/sh
# Runs each fuzz target of the module for the given time, one after another.
set -eu
cd "$(dirname "$0")/.."
time=${1:-30s}
for file in $(git ls-files '*_test.go'); do
	tags=
	if grep -q '^//go:build hftokenizers' "$file"; then
		if ! tools/setup/tokenizers.sh --check; then
			echo "== LEFT OUT: $file: \`make tokenizers\` builds what it needs" >&2
			continue
		fi
		tags=hftokenizers
	fi
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $target ($(dirname "$file"))"
		go test -tags "$tags" -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
	done
done
