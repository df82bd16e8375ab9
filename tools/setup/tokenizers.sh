#!/bin/sh
# Builds Hugging Face's tokenizers as a static library into .cache, where a Go
# build with the tag hftokenizers links it. Cargo.lock pins every crate by its
# checksum. Does nothing when that is done; the first time takes minutes.
set -eu
cd "$(dirname "$0")/../.."
self=tools/setup/tokenizers.sh
source=embedder/tokenizer/rust
out=.cache/tokenizers
rust=85 # the second number of the oldest Rust 1.x that does
sources() { sha256sum $self "$source"/Cargo.toml "$source"/Cargo.lock "$source"/src/*.rs "$source"/*.h; }
case ${1:-} in
--check) # is it built, of these sources?
	sources | cmp -s - "$out/lib/SOURCES" 2>/dev/null
	exit ;;
--can) # could it be built here?
	test "$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')" -ge $rust 2>/dev/null
	exit ;;
esac
$self --check && exit 0
if ! $self --can; then
	echo "tokenizers: Rust's cargo is missing or old: install Rust 1.$rust or later (https://rustup.rs, or Debian 13: apt-get install cargo);" >&2
	echo "models with a BERT WordPiece tokenizer need none of this" >&2
	exit 1
fi
mkdir -p "$out/lib"
echo "building tokenizers with $(cargo --version) (once, some minutes)"
if ! CARGO_TARGET_DIR=$out/target cargo build --quiet --release --locked --manifest-path "$source/Cargo.toml"; then
	echo "tokenizers: cargo could not build $source: see above; it needs a C compiler and, the first time, crates.io" >&2
	exit 1
fi
# Rust's own library comes with LLVM bitcode for link-time optimization, beside
# the machine code; cmd/go links nothing that holds any, since 1.27.4. Objects
# called compiler_builtins keep theirs whatever lto= says, so it is cut out here.
objcopy=$(command -v objcopy || command -v llvm-objcopy) || {
	echo "tokenizers: neither objcopy nor llvm-objcopy is there: install binutils (macOS: brew install llvm, and its bin folder on the PATH)" >&2
	exit 1
}
# Two set-ups at once may come here: each moves a whole file into its place.
"$objcopy" --remove-section .llvmbc --remove-section .llvmcmd \
	--remove-section __LLVM,__bitcode --remove-section __LLVM,__cmdline \
	"$out/target/release/libchunktide_tokenizers.a" "$out/lib/.$$"
mv "$out/lib/.$$" "$out/lib/libchunktide_tokenizers.a"
sources >"$out/lib/.$$"
mv "$out/lib/.$$" "$out/lib/SOURCES"
