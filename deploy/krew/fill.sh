#!/bin/sh
# Makes of a release's binaries what krew installs as `kubectl bbc`: an archive for each architecture, with manual pages,
# and the manifest bbc.yaml with their sums. The same binaries give the same archives to the byte.
#
#   deploy/krew/fill.sh <version> <folder with bitbucket-connection-operator-linux-amd64 and -arm64>
#
# All of it goes into that folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 2 ] || { echo "usage: $0 <version> <folder>" >&2; exit 2; }
version=$1
cd "$2"

# Any binary that runs here writes the pages: they are the same for all architectures.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $(uname -m) in aarch64 | arm64) own=arm64 ;; *) own=amd64 ;; esac
cp "bitbucket-connection-operator-linux-$own" "$work/kubectl-bbc"
chmod +x "$work/kubectl-bbc"
"$work/kubectl-bbc" man --output-dir "$work/man"

manifest="s/@VERSION@/$version/"
for architecture in amd64 arm64; do
    root=$work/$architecture
    mkdir "$root"
    cp -R "$work/man" "$here/../../LICENSE" "$root/"
    cp "bitbucket-connection-operator-linux-$architecture" "$root/kubectl-bbc"
    chmod 0755 "$root/kubectl-bbc"
    archive=kubectl-bbc-linux-$architecture.tar
    tar --create --file "$archive" --directory "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
        --mode=u+rwX,go+rX,go-w LICENSE kubectl-bbc man
    gzip --force --no-name --best "$archive"
    sum=$(sha256sum "$archive.gz" | cut -d ' ' -f 1)
    manifest="$manifest; s/@SHA256_$(echo $architecture | tr '[:lower:]' '[:upper:]')@/$sum/"
done
sed "1d; $manifest" "$here/bbc.yaml.in" >bbc.yaml
echo "krew: $PWD/bbc.yaml, kubectl-bbc-linux-amd64.tar.gz, kubectl-bbc-linux-arm64.tar.gz"
