# orchestrator, orchctl and compactor. Build it from the root of the repository:
#
#   docker build -f deploy/images/orchestrator.Dockerfile -t orchestrator .
#   buildah build -f deploy/images/orchestrator.Dockerfile -t orchestrator .
#
# Without the network, or with programs that you built yourself: deploy/images/layout makes the same image of them.
ARG RUST=docker.io/library/rust:1.90-slim-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Each in its own step of the cache; symbols stay, so that a backtrace says something.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin orchestrator --bin orchctl --bin compactor && \
    mkdir /out && cp target/release/orchestrator target/release/orchctl target/release/compactor /out/ && strip /out/*

# A C library, certificates of authorities, time zones, a user who is nobody: no shell, no package manager.
FROM ${RUNTIME}
COPY --from=build /out/ /usr/local/bin/
USER 65532:65532
# 50051: gRPC, probes and metrics.
EXPOSE 50051
ENV ORCH_DATA=/var/lib/orch/data
VOLUME /var/lib/orch
ENTRYPOINT ["/usr/local/bin/orchestrator"]
