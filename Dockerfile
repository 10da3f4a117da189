# The image: one static binary, the CAs that it trusts, and nothing else; no shell, no user but a number.
#
#   docker build .                    builds all of it, with what this file names; needs no Rust, but crates.io
#   make image                        builds the binary here, and packs it; needs Rust, but no network
#
# Targets: `packed` takes the root folder that image/root.sh laid out; the last one builds it first.

FROM scratch AS frame
ARG VERSION=unknown REVISION=unknown CREATED=unknown
LABEL org.opencontainers.image.title="bitbucket-connection-operator" \
      org.opencontainers.image.description="Kubernetes operator that keeps Bitbucket app connections of Hanzo KMS in step with Secrets" \
      org.opencontainers.image.vendor="Hanzo AI" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.documentation="https://github.com/hanzoai/bitbucket-connection-operator" \
      org.opencontainers.image.source="https://github.com/hanzoai/bitbucket-connection-operator" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# A number, so that `runAsNonRoot` can be checked by the kubelet. The same as in other images without a user.
USER 65532:65532
ENTRYPOINT ["/bitbucket-connection-operator"]
CMD ["run"]

FROM frame AS packed
COPY target/image/root/ /

# Rust and Debian's C compiler are part of what makes the binary the same each time: change them on purpose.
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates musl-tools \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /src
COPY . .
RUN image/root.sh

FROM frame
COPY --from=build /src/target/image/root/ /
