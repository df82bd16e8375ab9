#!/bin/sh
# Fetches the Apache Kafka broker that the tests run (see pom.xml) into
# .cache/kafka. After a change of version: `tools/kafka/setup.sh --record`.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n '/<artifactId>kafka_2.13</{n;s/.*<version>\(.*\)<.*/\1/p;}' tools/kafka/pom.xml)
exec sh tools/setup/jars.sh tools/kafka ".cache/kafka/$version/libs" "Apache Kafka $version for the tests (43 MB)" "$@"
