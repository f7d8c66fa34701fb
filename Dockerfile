# Layover as an image: one static executable and the data that it reads, nothing else.
# README.md, "Production in ten minutes", says how to run it; tests/container/run tests it.
FROM rust:1.95.0-bookworm AS build

# setcap gives the executable its right to ports below 1024; python3 writes the bill of materials.
RUN if ! { command -v setcap && command -v python3 && [ -d /usr/share/zoneinfo ]; } >/dev/null; then \
        apt-get update && \
        apt-get install -y --no-install-recommends libcap2-bin python3 tzdata && \
        rm -rf /var/lib/apt/lists/*; \
    fi

# The crates of others first, for which this project's stand empty: they are built anew only when
# a Cargo.toml or Cargo.lock changes. Static, with glibc (why: ARCHITECTURE.md); the target is
# named so that build scripts and macros stay dynamic.
WORKDIR /src
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY Cargo.toml Cargo.lock ./
COPY admin/Cargo.toml admin/
COPY client/Cargo.toml client/
COPY config/Cargo.toml config/
COPY retention/Cargo.toml retention/
COPY server/Cargo.toml server/
COPY server/console/Cargo.toml server/console/
COPY server/depot/Cargo.toml server/depot/
COPY server/ftps/Cargo.toml server/ftps/
COPY server/sftp/Cargo.toml server/sftp/
COPY tests/Cargo.toml tests/
RUN for manifest in */Cargo.toml server/*/Cargo.toml; do \
        sed -i "/^\[\[/,/^$/d" "$manifest" && \
        mkdir "${manifest%/*}/src" && touch "${manifest%/*}/src/lib.rs" || exit 1; \
    done && \
    echo 'fn main() {}' >admin/src/main.rs && \
    cargo build --release --locked --package layover-admin --target "$(uname -m)-unknown-linux-gnu"

# Then ours. cargo goes by times, and files keep theirs when they are copied.
COPY admin admin
COPY client client
COPY config/layover.example.toml config/
COPY config/src config/src
COPY retention retention
COPY server server
RUN find admin client config retention server -name '*.rs' -exec touch {} + && \
    cargo build --release --locked --package layover-admin --target "$(uname -m)-unknown-linux-gnu" && \
    mkdir -p /image/usr/bin && \
    # Tables of lines stay out of the image, names of functions stay in.
    strip --strip-debug -o /image/usr/bin/layover target/*-unknown-linux-gnu/release/layover && \
    rm -rf target

# Certificates of authorities for webhooks, partners' servers and vaults; time zones for schedules.
# Names of functions are 10 MiB: without them the image has less than 60.
RUN strip --strip-all /image/usr/bin/layover && \
    mkdir -p /image/etc/ssl/certs /image/usr/share /image/var/lib/layover/homes && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    cp -a /usr/share/zoneinfo /image/usr/share/ && \
    rm -rf /image/usr/share/zoneinfo/right /image/usr/share/zoneinfo/posix && \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf && \
    echo 'layover:x:65532:65532:Layover:/var/lib/layover:/' >/image/etc/passwd && \
    echo 'layover:x:65532:' >/image/etc/group && \
    chmod 700 /image/var/lib/layover /image/var/lib/layover/homes && \
    chown -R 65532:65532 /image/var/lib/layover && \
    setcap cap_net_bind_service+p /image/usr/bin/layover

COPY LICENSE ./
COPY config/container config/container
RUN config/container/bill_of_materials.py /image/usr/share/doc/layover && \
    cp LICENSE /image/usr/share/doc/layover/

FROM scratch

LABEL org.opencontainers.image.title="Layover" \
      org.opencontainers.image.description="FTPS and SFTP server with enforced retention" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /image/ /

# Everything that changes; a settings file may lie there, too (layover.toml).
VOLUME /var/lib/layover
WORKDIR /var/lib/layover
USER 65532:65532

# Any other setting goes the same way: LAYOVER__SECTION__KEY.
ENV LAYOVER__DATA_DIR=/var/lib/layover \
    LAYOVER__FTPS__EXPLICIT_PORT=21 \
    LAYOVER__FTPS__IMPLICIT_PORT=990 \
    LAYOVER__SFTP__PORT=22

# FTPS explicit and implicit, SFTP, passive data; metrics and health, where [console] listen opens them.
EXPOSE 21 990 22 31000-32000 8080

# Stopping takes up to 35 s: running transfers may finish (--stop-timeout 40).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 \
    CMD ["/usr/bin/layover", "status", "--health"]

ENTRYPOINT ["/usr/bin/layover"]
CMD ["serve"]
