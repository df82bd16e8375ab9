#!/bin/sh
# Writes the golden ids of embedder/tokenizer/testdata/parity anew, from the
# reference; nothing changes unless a tokenizer or the reference has.
#
#     parity.sh                     the committed files
#     parity.sh FOLDER COUNT SEED   other strings, for CHUNKTIDE_TEST_PARITY=FOLDER
set -eu
cd "$(dirname "$0")/../.."
venv=.cache/tokenizers/venv
if [ ! -x "$venv/bin/python" ]; then
	mkdir -p .cache/tokenizers
	python3 -m venv "$venv" || { echo "parity: python3 with venv is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }
fi
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r tools/tokenizer/requirements.txt
data=embedder/tokenizer/testdata
set -- "${1:-$data/parity}" "${2:-2100}" "${3:-1}" "wordpiece-uncased=.cache/models/all-MiniLM-L6-v2/tokenizer.json"
for file in "$data"/*.json.gz; do
	set -- "$@" "$(basename "$file" .json.gz)=$file"
done
exec "$venv/bin/python" tools/tokenizer/parity.py "$@"
