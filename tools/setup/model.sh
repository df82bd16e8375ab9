#!/bin/sh
# Fetches the encoder's model and the ONNX Runtime library into .cache, where
# chunktide finds them. Does nothing when that is done. See model.py.
set -eu
cd "$(dirname "$0")/../.."
if ! command -v python3 >/dev/null 2>&1; then
	echo "setup: python3 is missing: install it with pip or venv (Debian: apt-get install python3-venv)" >&2
	exit 1
fi
exec python3 tools/setup/model.py "$@"
