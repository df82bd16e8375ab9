#!/bin/sh
# Fetches the Apache Kafka broker that the tests run (see pom.xml) into
# .cache/kafka and checks every jar against SHA256SUMS. Does nothing when that
# is done. After a change of version: `tools/kafka/setup.sh --record` writes
# SHA256SUMS anew, from what Maven Central serves.
set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n '/<artifactId>kafka_2.13</{n;s/.*<version>\(.*\)<.*/\1/p;}' "$here/pom.xml")
parent=$here/../../.cache/kafka
libs=$parent/$version/libs

checksums() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}
fail() {
	echo "kafka setup: $*" >&2
	exit 1
}

# A folder appears only when it is complete and checked, so its being there for
# these sums is enough.
if [ "${1:-}" != --record ] && cmp -s "$here/SHA256SUMS" "$libs/SHA256SUMS" 2>/dev/null; then
	exit 0
fi
command -v java >/dev/null 2>&1 ||
	fail "Java 17 or newer is missing (Debian and Ubuntu: apt-get install openjdk-17-jre-headless)"
command -v mvn >/dev/null 2>&1 ||
	fail "Maven is missing; it fetches the Kafka jars (Debian and Ubuntu: apt-get install maven)"

mkdir -p "$parent"
work=$(mktemp -d "$parent/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
echo "fetching Apache Kafka $version for the tests (43 MB)"
mvn -B -q -ntp -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies \
	-DincludeScope=runtime -DoutputDirectory="$work/libs" ||
	fail "Maven could not fetch the jars: see above; behind a mirror, name it in ~/.m2/settings.xml"
(cd "$work/libs" && checksums -- *.jar) >"$work/libs/SHA256SUMS"
if [ "${1:-}" = --record ]; then
	cp "$work/libs/SHA256SUMS" "$here/SHA256SUMS"
elif ! diff "$here/SHA256SUMS" "$work/libs/SHA256SUMS" >&2; then
	fail "the jars are not those of tools/kafka/SHA256SUMS (< expected, > fetched); nothing was installed." \
		"A damaged download in ~/.m2/repository? Remove it there and try again"
fi
# Another setup may have finished first; what it installed is the same.
mkdir -p "$parent/$version"
rm -rf "$libs"
mv "$work/libs" "$libs"
