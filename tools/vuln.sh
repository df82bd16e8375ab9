#!/bin/sh
# Looks for known vulnerabilities in what the program calls, with govulncheck.
#
# The database is that of VULNDB (a URL), else vuln.go.dev's; where that cannot
# be reached it is the repository that it is made of, by way of the Go module
# proxy. Releases are built with Go $release or newer, so that is the standard
# library that counts; that of this machine is looked at too.
#
# It exits with 0 if there are none, 3 if there are some, and 1 if it could not
# look. With --ci it tells the last, and what is only in this machine's Go, and
# exits with 0: neither can be mended in the code.
set -u
cd "$(dirname "$0")/.."
release=go1.26.10
ci=false
[ "${1:-}" = --ci ] && ci=true
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# Three traces of a finding are enough.
show() { grep -Ev '^ +#([4-9]|[0-9]{2,}): ' "$out"; }

# scan GOVERSION [DATABASE] leaves what was said in $out.
scan() {
	if [ -n "${2:-}" ]; then
		GOVERSION=$1 timeout 600 "$checker" -db "$2" ./... >"$out" 2>&1
	else
		GOVERSION=$1 timeout 600 "$checker" ./... >"$out" 2>&1
	fi
}

unknown() {
	show >&2
	echo "NOT CHECKED for known vulnerabilities: $1." >&2
	echo "Run \`make vuln\` where vuln.go.dev or the Go module proxy is reached, or give VULNDB=URL." >&2
	$ci && exit 0
	exit 1
}

version=$(sed -n 's/^GOVULNCHECK_VERSION *:= *//p' Makefile)
checker=.cache/bin/govulncheck-$version
make -s "$(pwd)/$checker" >"$out" 2>&1 || unknown "govulncheck $version cannot be installed"

db=${VULNDB:-}
scan "$release" "$db"
status=$?
if [ $status -ne 0 ] && [ $status -ne 3 ] && [ -z "$db" ] && grep -q 'fetching vulnerabilities' "$out"; then
	dir=$(cd / && GOFLAGS= go mod download -json golang.org/x/vulndb@latest 2>>"$out" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	[ -n "$dir" ] || unknown "there is no vulnerability database to be had"
	echo "the vulnerability database is $(basename "$dir"), from the Go module proxy"
	db=file://$dir/data/osv
	scan "$release" "$db"
	status=$?
fi
case $status in
0) echo "no known vulnerability is called (standard library: $release)" ;;
3) show; exit 3 ;;
*) unknown "govulncheck failed ($status)" ;;
esac

here=$(go env GOVERSION)
[ "$here" = "$release" ] && exit 0
scan "$here" "$db"
case $? in
0) exit 0 ;;
3)
	echo "THIS MACHINE'S GO, $here, HAS KNOWN VULNERABILITIES that the program calls:" >&2
	grep -E '^Vulnerability #|Found in:|Fixed in:' "$out" | paste - - - | sed 's/^Vulnerability #[0-9]*: //; s/  */ /g' >&2
	echo "Build releases with $release or newer." >&2
	$ci && exit 0
	exit 3
	;;
*) unknown "govulncheck failed on $here" ;;
esac
