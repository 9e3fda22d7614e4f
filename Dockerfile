# syntax=docker/dockerfile:1
# The binary and nothing else: no shell, no package manager, not root.
#
#   docker build -t tardy .
#   docker run --rm --read-only --tmpfs /tmp tardy demo

FROM rust:1.95.0-bookworm AS build
# The image's own toolchain, not the components that development wants.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked \
    && install -D target/release/tardy /out/tardy \
    && install -d -m 0700 /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/tardy /usr/local/bin/tardy
# The control socket lies beside the store, so both are below the volume.
COPY --from=build --chown=65532:65532 /out/data /data
ENV TARDY_CONFIG=/etc/tardy/config/tardy.toml \
    TARDY_STORE__PATH=/data/store
VOLUME /data
USER 65532:65532
# Fails when no bot runs, its store cannot be written, or a source has not been read for ten polls.
HEALTHCHECK --interval=30s --timeout=15s --start-period=5m --retries=3 \
    CMD ["/usr/local/bin/tardy", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tardy"]
CMD ["run", "--log", "json"]
