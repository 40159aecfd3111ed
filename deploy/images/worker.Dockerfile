# The worker, and below it whatever its runners need. Build it from the root of the repository:
#
#   docker build -f deploy/images/worker.Dockerfile -t worker .
#   docker build -f deploy/images/worker.Dockerfile -t train \
#       --build-arg RUNTIME=docker.io/nvidia/cuda:12.4.1-runtime-ubuntu22.04 .
#
# Any base with the GNU C library 2.36 or later will do; for an older one (CUDA images on Ubuntu 22.04 have 2.35), build on one
# that is as old: --build-arg RUST=docker.io/library/rust:1.90-slim-bullseye. The driver's libraries come from the host, by
# the NVIDIA container toolkit: ask for them with NVIDIA_DRIVER_CAPABILITIES=compute,utility (the chart does).
ARG RUST=docker.io/library/rust:1.90-slim-bullseye
ARG RUNTIME=docker.io/library/debian:12-slim

FROM ${RUST} AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin worker && mkdir /out && cp target/release/worker /out/ && strip /out/worker

FROM ${RUNTIME}
# What is asked of TLS servers is a certificate of an authority that this image or --tls-ca knows.
COPY --from=build /out/worker /usr/local/bin/worker
# Runners start with what the worker has: a user of its own, and a home that can be written.
ENV HOME=/tmp NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/worker"]
