#!/bin/sh
# Lays out all that the image holds, in target/image/root: the static binary, the CAs that it trusts, the license.
# Exit code 3 says that something has to be installed first.
#
# The same commit gives the same binary to the byte, in whatever folder, by whatever user and on whatever day, as long as
# Rust and the C compiler are the same; the Dockerfile names both. It prints the binary's SHA-256.
set -eu
cd "$(dirname "$0")/.."
name=bitbucket-connection-operator
# musl, because a static binary of glibc loads the system's resolver at run time, and an empty image has none. Its
# allocator is known to be slow where many threads use it at once; here that doesn't show: for 1,000 new connections 24 MiB, the
# program's pages included, and 1.4 s of CPU, as with glibc (docs/performance.md).
target=$(uname -m)-unknown-linux-musl
roots=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
out=target/image

lacking() {
    printf 'error: %s\n' "$*" >&2
    exit 3
}

sysroot=$(rustc --print sysroot) || lacking "Rust isn't here: install it with https://rustup.rs"
[ -d "$sysroot/lib/rustlib/$target" ] || lacking "Rust can't build for $target yet: rustup target add $target"
# ring, which does the cryptography, is C in part.
command -v musl-gcc >/dev/null || lacking "there is no musl-gcc: apt-get install musl-tools (Debian, Ubuntu)"
[ -s "$roots" ] || lacking "no CA certificates in $roots: install ca-certificates, or set CA_BUNDLE to a PEM file"

# Panics and backtraces name source files: by what they are, not by where somebody built them.
build=${CARGO_TARGET_DIR:-$PWD/target}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
std=/rustc/$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
flags=--remap-path-prefix=$PWD=.
for pair in "$build=target" "$cargo_home/registry/src=crates" "$sysroot/lib/rustlib/src/rust=$std"; do
    flags="$flags$(printf '\037')--remap-path-prefix=$pair"
done
# Flags and C compiler of the caller would end up in the binary.
unset RUSTFLAGS CFLAGS
export CARGO_ENCODED_RUSTFLAGS="$flags" CARGO_INCREMENTAL=0
export "CC_$(echo "$target" | tr - _)=musl-gcc"
${CARGO:-cargo} build --release --locked --target "$target" --bin $name >&2

rm -rf $out/root
mkdir -p $out/root/etc/ssl/certs
install -m 0755 "$build/$target/release/$name" $out/root/$name
install -m 0644 "$roots" $out/root/etc/ssl/certs/ca-certificates.crt
install -m 0644 LICENSE $out/root/LICENSE
(cd $out/root && sha256sum $name) | tee $out/$name.sha256
