#!/bin/sh
# Packs target/image/root into an image, with whichever of buildah, podman and docker is here: image/build.sh <name:tag>
#
# ENGINE names another one. Exit code 3 says that there is none.
set -eu
cd "$(dirname "$0")/.."
image=${1:?usage: image/build.sh name:tag}

# A docker without its daemon is none.
works() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }
engine=${ENGINE:-}
for each in buildah podman docker; do
    [ -n "$engine" ] || ! works "$each" || engine=$each
done
if [ -z "$engine" ]; then
    echo "no image: none of buildah, podman and docker works here. With apt-get install buildah no daemon is needed." >&2
    exit 3
fi

# What the image tells of itself depends on the commit alone.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || revision=$revision-dirty
SOURCE_DATE_EPOCH=$(git show --no-patch --format=%ct HEAD)
export SOURCE_DATE_EPOCH
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
set -- --target packed --tag "$image" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --build-arg "CREATED=$created"
echo "== $engine: $image, version $version, commit $revision" >&2
case $engine in
    # Files take the commit's time too: then the image's layers are the same each time. Without a daemon, without root's
    # powers and without a network.
    buildah) buildah build --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" "$@" . ;;
    podman) podman build --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" "$@" . ;;
    *) "$engine" build "$@" . ;;
esac
