#!/bin/sh
# Builds Hugging Face's tokenizers as a static library into .cache, where a Go
# build with the tag hftokenizers links it. Cargo.lock pins every crate by its
# checksum. Does nothing when that is done; the first time takes minutes.
set -eu
cd "$(dirname "$0")/../.."
source=embedder/tokenizer/rust
out=.cache/tokenizers
if [ "${1:-}" = --check ]; then # is it built, of these sources?
	sha256sum -c --status "$out/lib/SOURCES" 2>/dev/null
	exit
fi
"$0" --check && exit 0
if ! command -v cargo >/dev/null 2>&1; then
	echo "tokenizers: cargo is missing: install Rust 1.85 or later (https://rustup.rs, or Debian 13: apt-get install cargo);" >&2
	echo "models with a BERT WordPiece tokenizer need none of this" >&2
	exit 1
fi
mkdir -p "$out/lib"
echo "building tokenizers with $(cargo --version) (once, some minutes)"
if ! CARGO_TARGET_DIR=$out/target cargo build --quiet --release --locked --manifest-path "$source/Cargo.toml"; then
	echo "tokenizers: cargo could not build $source: see above; it needs Rust 1.85 or later, and a C compiler" >&2
	exit 1
fi
# Two set-ups at once may come here: each moves a whole file into its place.
cp "$out/target/release/libchunktide_tokenizers.a" "$out/lib/.$$"
mv "$out/lib/.$$" "$out/lib/libchunktide_tokenizers.a"
sha256sum "$source"/Cargo.toml "$source"/Cargo.lock "$source"/src/*.rs "$source"/*.h >"$out/lib/.$$"
mv "$out/lib/.$$" "$out/lib/SOURCES"
