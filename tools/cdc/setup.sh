#!/bin/sh
# Fetches Kafka Connect and Debezium's PostgreSQL connector (see pom.xml) into
# .cache/cdc, and finds PostgreSQL: what `make test-cdc` needs beside the broker.
# After a change of version: `tools/cdc/setup.sh --record`.
set -eu
cd "$(dirname "$0")/../.."
if ! command -v initdb >/dev/null 2>&1 && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "installing postgresql"
		{ apt-get install -y -q postgresql || { apt-get update -q && apt-get install -y -q postgresql; }; } >/dev/null
	else
		echo "PostgreSQL was not found: install it (Debian and Ubuntu: apt-get install postgresql)" >&2
		exit 1
	fi
fi
version=$(sed -n '/<artifactId>debezium-connector-postgres</{n;s/.*<version>\(.*\)<.*/\1/p;}' tools/cdc/pom.xml)
exec sh tools/setup/jars.sh tools/cdc ".cache/cdc/$version/libs" "Kafka Connect and Debezium $version (38 MB)" "$@"
