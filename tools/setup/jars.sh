#!/bin/sh
# jars.sh FOLDER DEST WHAT: lets Maven copy the jars of FOLDER/pom.xml to DEST
# and checks every one against FOLDER/SHA256SUMS. Does nothing when that is
# done. After a change of version, `jars.sh FOLDER DEST WHAT --record` writes
# SHA256SUMS anew, from what Maven Central serves.
set -eu
export LC_ALL=C
here=$(cd "$1" && pwd)
libs=$2
what=$3

checksums() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}
fail() {
	echo "setup of $what: $*" >&2
	exit 1
}

# A folder appears only when it is complete and checked, so its being there for
# these sums is enough.
if [ "${4:-}" != --record ] && cmp -s "$here/SHA256SUMS" "$libs/SHA256SUMS" 2>/dev/null; then
	exit 0
fi
command -v java >/dev/null 2>&1 ||
	fail "Java 17 or newer is missing (Debian and Ubuntu: apt-get install openjdk-17-jre-headless)"
command -v mvn >/dev/null 2>&1 ||
	fail "Maven is missing; it fetches the jars (Debian and Ubuntu: apt-get install maven)"

mkdir -p "$(dirname "$libs")"
parent=$(cd "$(dirname "$libs")" && pwd) # Maven reads paths from the folder of the pom
libs=$parent/$(basename "$libs")
work=$(mktemp -d "$parent/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
echo "fetching $what"
mvn -B -q -ntp -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies \
	-DincludeScope=runtime -DoutputDirectory="$work/libs" ||
	fail "Maven could not fetch the jars: see above; behind a mirror, name it in ~/.m2/settings.xml"
(cd "$work/libs" && checksums -- *.jar) >"$work/libs/SHA256SUMS"
if [ "${4:-}" = --record ]; then
	cp "$work/libs/SHA256SUMS" "$here/SHA256SUMS"
elif ! diff "$here/SHA256SUMS" "$work/libs/SHA256SUMS" >&2; then
	fail "the jars are not those of $1/SHA256SUMS (< expected, > fetched); nothing was installed." \
		"A damaged download in ~/.m2/repository? Remove it there and try again"
fi
# Another setup may have finished first; what it installed is the same.
rm -rf "$libs"
mv "$work/libs" "$libs"
