#!/usr/bin/env bash
# Brings up the compose stack where no container registry can be reached: makes local stand-ins for the base images
# out of Debian packages and this machine's Rust toolchain, under the tags that the Dockerfile and docker-compose.yml
# ask for. An image that is there already is left alone, so a pulled one is never replaced.
# Grafana has no Debian package: start the stack without it (docker-compose up -d actor prometheus).
#
#   usage: sudo RUST_SYSROOT="$(rustc --print sysroot)" deploy/base-images.sh
#
# Needs root, docker, debootstrap, and a Rust 1.95 toolchain (RUST_SYSROOT; without it, that of the rustc on PATH).
#
# The certificate authorities that an administrator added to this machine (/usr/local/share/ca-certificates) go into
# the images too, so that builds work behind a proxy that terminates TLS.
set -euo pipefail

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'base-images: %s\n' "$*" >&2; }
missing() { ! docker image inspect "$1" >/dev/null 2>&1; }

# What build_on gets as its context: the folder $work/context and a Dockerfile on standard input.
build_on() {
    mkdir -p "$work/context"
    cat >"$work/context/Dockerfile"
    docker build --quiet --tag "$1" "$work/context" >/dev/null
    rm -rf "$work/context"
}

debian_image() {
    debootstrap --variant=minbase bookworm "$work/debian" "$mirror" >"$work/debootstrap.log" ||
        { tail -n 5 "$work/debootstrap.log" >&2; return 1; }
    printf '%s\n' "deb $mirror bookworm main" "deb $mirror bookworm-updates main" \
        "deb ${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security} bookworm-security main" \
        >"$work/debian/etc/apt/sources.list"
    # What the slim image leaves out.
    rm -rf "$work"/debian/var/cache/apt/* "$work"/debian/var/lib/apt/lists/* "$work"/debian/var/log/* \
        "$work"/debian/usr/share/{doc,man,info,locale}/*
    # Picked up by update-ca-certificates as soon as an image installs ca-certificates.
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        mkdir -p "$work/debian/usr/local/share/ca-certificates"
        cp /usr/local/share/ca-certificates/*.crt "$work/debian/usr/local/share/ca-certificates/"
    fi
    tar -C "$work/debian" --numeric-owner -c . | docker import --change 'CMD ["bash"]' - "$1" >/dev/null
    rm -rf "$work/debian"
}

rust_image() {
    local sysroot=${RUST_SYSROOT:-}
    [ -n "$sysroot" ] || sysroot=$(rustc --print sysroot)
    "$sysroot/bin/rustc" --version | grep -q '^rustc 1\.95\.' ||
        { say "the toolchain in $sysroot is not Rust 1.95 (rustup toolchain install 1.95)"; return 1; }
    mkdir -p "$work/context/toolchain"
    tar -C "$sysroot" --exclude=./share/doc --exclude=./lib/rustlib/src -c . | tar -C "$work/context/toolchain" -x
    build_on "$1" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl git g++ gcc libc6-dev make \
    pkg-config && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local/cargo
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DOCKERFILE
}

redis_image() {
    # It starts as root, as the original does: docker-compose.yml reads the password first and then becomes `redis`.
    build_on "$1" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* && \
    install -d -o redis -g redis /data
VOLUME /data
WORKDIR /data
EXPOSE 6379
CMD ["redis-server", "--protected-mode", "no"]
DOCKERFILE
}

prometheus_image() {
    build_on "$1" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* && \
    install -d -o nobody -g nogroup /prometheus
VOLUME /prometheus
WORKDIR /prometheus
USER nobody
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKERFILE
}

alertmanager_image() {
    # The web interface is not in the package; alerts show in Prometheus, and amtool and the API work.
    build_on "$1" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-alertmanager && \
    rm -rf /var/lib/apt/lists/* && install -d -o nobody -g nogroup /alertmanager
VOLUME /alertmanager
WORKDIR /alertmanager
USER nobody
EXPOSE 9093
ENTRYPOINT ["/usr/bin/prometheus-alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
DOCKERFILE
}

redis_exporter_image() {
    build_on "$1" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-redis-exporter && \
    rm -rf /var/lib/apt/lists/* && ln -s /usr/bin/prometheus-redis-exporter /redis_exporter
USER nobody
EXPOSE 9121
ENTRYPOINT ["/redis_exporter"]
DOCKERFILE
}

needed=()
for program in docker debootstrap; do
    command -v "$program" >/dev/null || needed+=("$program")
done
[ "$(id -u)" = 0 ] || needed+=("root")
[ ${#needed[@]} = 0 ] || { say "needs ${needed[*]}"; exit 69; }

for pair in debian=debian:bookworm-slim rust=rust:1.95-bookworm redis=redis:7-bookworm \
    prometheus=prom/prometheus:v2.42.0 alertmanager=prom/alertmanager:v0.25.0 \
    redis_exporter=oliver006/redis_exporter:v1.45.0-alpine; do
    image=${pair#*=}
    if missing "$image"; then
        say "making $image"
        "${pair%%=*}_image" "$image"
    else
        say "$image is there"
    fi
done
