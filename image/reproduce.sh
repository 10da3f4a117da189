#!/bin/sh
# Builds the binary of the last commit from nothing, in two folders of different names, and compares: both must be the
# same to the byte. With a SHA-256 as argument it builds once, and what it builds must have that one. Takes some minutes.
set -eu
cd "$(dirname "$0")/.."
name=bitbucket-connection-operator
expected=${1:-}
folders=a/folder/with/a/longer/name
[ -n "$expected" ] || folders="here $folders"
# Results of earlier builds, here or in the caller's folder for them, would make this a copy of one.
unset CARGO_TARGET_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in $folders; do
    mkdir -p "$work/$folder"
    git archive HEAD | tar -x -C "$work/$folder"
    "$work/$folder/image/root.sh" >/dev/null
    sum=$(cut -d ' ' -f 1 "$work/$folder/target/image/$name.sha256")
    echo "$sum  $name, built in $work/$folder"
    if grep -aq "$work" "$work/$folder/target/image/root/$name"; then
        echo "error: the binary names the folder that it was built in" >&2
        exit 1
    fi
    if [ "$sum" != "${expected:=$sum}" ]; then
        echo "error: not the same: $expected was expected. Other versions of Rust and of the C compiler make another" \
            "binary; the Dockerfile names the ones of a release. See docs/verify.md" >&2
        exit 1
    fi
    rm -rf "${work:?}/$folder"
done
echo "the same to the byte"
