#!/bin/sh
# Looks for known vulnerabilities in what the program calls, with govulncheck.
#
# The database is that of VULNDB (a URL), else vuln.go.dev's; where that cannot
# be reached it is the repository that it is made of, by way of the Go module
# proxy. What is found in the standard library goes away with a later Go: go.mod
# names the one that is used.
#
# It exits with 0 if there are none, 3 if there are some, and 1 if it could not
# look. With --ci it tells the last and exits with 0.
set -u
cd "$(dirname "$0")/.."
ci=false
[ "${1:-}" = --ci ] && ci=true
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# Three traces of a finding are enough.
show() { grep -Ev '^ +#([4-9]|[0-9]{2,}): ' "$out"; }

# scan [DATABASE] leaves what was said in $out.
scan() {
	timeout 600 "$checker" ${1:+-db "$1"} ./... >"$out" 2>&1
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
scan "$db"
status=$?
if [ $status -ne 0 ] && [ $status -ne 3 ] && [ -z "$db" ] && grep -q 'fetching vulnerabilities' "$out"; then
	dir=$(cd / && GOFLAGS= go mod download -json golang.org/x/vulndb@latest 2>>"$out" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	[ -n "$dir" ] || unknown "there is no vulnerability database to be had"
	echo "the vulnerability database is $(basename "$dir"), from the Go module proxy"
	db=file://$dir/data/osv
	scan "$db"
	status=$?
fi
case $status in
0) echo "no known vulnerability is called (standard library: $(go env GOVERSION))" ;;
3) show; exit 3 ;;
*) unknown "govulncheck failed ($status)" ;;
esac
