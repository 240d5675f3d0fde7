# The image that `make image` makes, for those who have a container engine: docker build --tag regcred .
FROM rust:1.95.0-bookworm AS build
WORKDIR /build/regcred
COPY . .
RUN make rootfs IMAGE=/image

FROM scratch
LABEL org.opencontainers.image.title="regcred" \
      org.opencontainers.image.description="A Kubernetes operator for container registry credentials: obtained, proven, kept fresh, delivered" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /image/rootfs/ /
USER 65532:65532
ENTRYPOINT ["/regcred"]
