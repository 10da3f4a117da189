#!/bin/sh
# Checks the image: its program runs from its own root folder as in a pod, is the same to the byte wherever it is built,
# and what is packed is what was checked. Says what it leaves out, and why, where something isn't installed.
set -eu
cd "$(dirname "$0")/.."
name=bitbucket-connection-operator
image=localhost/$name:test

echo "== image: the root folder"
image/root.sh || {
    code=$?
    [ $code -eq 3 ] || exit $code
    echo "== image: not tested, for the reason above"
    exit 0
}

echo "== image: as in a pod, against a real API server"
${CARGO:-cargo} test --locked --test cluster image:: -- --ignored

echo "== image: the same program, built from nothing in another folder"
if [ -z "$(git status --porcelain)" ]; then
    image/reproduce.sh "$(cut -d ' ' -f 1 target/image/$name.sha256)"
else
    echo "There are changes that aren't committed: two builds of the last commit are compared instead."
    image/reproduce.sh
fi

echo "== image: packed"
image/build.sh $image || {
    code=$?
    [ $code -eq 3 ] || exit $code
    echo "== image: not packed, for the reason above; the rest passed"
    exit 0
}
if ! command -v buildah >/dev/null; then
    echo "== image: there is no buildah to look into the image with; the rest passed"
    exit 0
fi
id() { buildah inspect --type image --format '{{.FromImageID}}' $image; }
says() {
    found=$(buildah inspect --type image --format "$1" $image)
    [ "$found" = "$2" ] || { echo "error: $1 of the image is $found instead of $2" >&2 && exit 1; }
}
says '{{.OCIv1.Config.User}}' 65532:65532
says '{{.OCIv1.Config.Entrypoint}}' "[/$name]"
says '{{index .OCIv1.Config.Labels "org.opencontainers.image.licenses"}}' Apache-2.0
first=$(id)
image/build.sh $image
[ "$(id)" = "$first" ] || { echo "error: packed twice, it has two ids: $first and $(id)" >&2 && exit 1; }
container=$(buildah from $image)
trap 'buildah rm "$container" >/dev/null; buildah rmi $image >/dev/null' EXIT
buildah run --isolation chroot "$container" -- /$name --version
echo "== image: passed"
