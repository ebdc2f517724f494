# The relay alone, in about 24 MB: one static binary on an image with certificates, time zones and a /tmp, but no shell and no
# package manager.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /iam-relay .

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /iam-relay /iam-relay
COPY LICENSE /LICENSE
# Health and metrics must be reachable from outside the container. Publish the port only on private networks: there is no
# authentication.
ENV IAM_RELAY__ADMIN__LISTEN=:9464
EXPOSE 9464
USER 65532:65532
# Queries /readyz, with the configuration of CMD: a relay that cannot read the WAL or write the outbox is unhealthy.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
    CMD ["/iam-relay", "status", "--ready", "--config", "/etc/iam-relay/config.toml"]
ENTRYPOINT ["/iam-relay"]
CMD ["run", "--config", "/etc/iam-relay/config.toml"]
