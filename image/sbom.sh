#!/bin/sh
# Lists every crate that is in the binary or makes it, with version, license and checksum, in CycloneDX:
# target/image/sbom.cdx.json. The same commit gives the same list.
set -eu
cd "$(dirname "$0")/.."
name=bitbucket-connection-operator
SOURCE_DATE_EPOCH=$(git show --no-patch --format=%ct HEAD)
export SOURCE_DATE_EPOCH
# Which crates there are does not depend on the architecture.
${CARGO:-cargo} cyclonedx --format json --describe binaries --target x86_64-unknown-linux-musl --quiet >&2
# It writes one file next to each manifest of the workspace, and only the operator is shipped.
mkdir -p target/image
# References within the list name the folder of the sources; for everybody the same one.
sed "s|path+file://$PWD#|path+file:///src#|g" "${name}_bin.cdx.json" > target/image/sbom.cdx.json
find . -path ./target -prune -o -name '*.cdx.json' -exec rm {} +
echo "target/image/sbom.cdx.json: $(grep -c '"purl"' target/image/sbom.cdx.json) components"
