# `make help` lists the targets. Needs the Rust toolchain, a C++ compiler and python3 with pip; deploy/setup.sh says what
# is missing and fetches the rest (libtorch, Redis, Prometheus) into .deps/. A CUDA host exports LIBTORCH.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The tests start whole clusters: three at a time, because they wait for a quarter of theirs, and one thread for the tensor
# code of each process, which is also what makes their timings repeatable.
TEST_THREADS ?= 3
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 RAYON_NUM_THREADS=1

# What `make profile` measures, and where `make docs SERVE=1` listens.
WHAT ?= engine
PORT ?= 8000

# The version of buf that `make lint-proto` fetches, and what it compares with; without a tag only the list of
# proto/wire.txt is compared, which a test of Rust does.
BUF ?= 1.75.0
AGAINST ?= $(shell git describe --tags --abbrev=0 2> /dev/null)

# What the image says of itself.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
COMMIT = $(shell git rev-parse --short HEAD 2> /dev/null || echo unknown)

# The plugin of docker, or the older program of its own.
COMPOSE ?= $(shell docker compose version > /dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: help setup demo check test test-compose lint lint-proto wheel wheel-verifier test-python docs build profile bench-verifier bench-fleet bench-serving bench bench-gpu chaos deterministic \
    fuzz study-stability dashboards images clean-runs

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

setup: ## Fetch libtorch and, where there is none, Redis
	@deploy/setup.sh libtorch redis

build: setup ## Build all binaries for use, into target/release
	cargo build --release --workspace --exclude anytime-tests

demo: build ## Train a tiny model end to end on this machine and show that it learns
	target/release/anytime demo

# Formatting first: it is what fails most often, and fastest. git looks at what rustfmt does not: trailing blanks, blank
# lines at the end and conflict markers in any file.
lint: setup ## Check formatting and lints
	cargo fmt --all --check
	@if git rev-parse --git-dir > /dev/null 2>&1; then git diff --check "$$(git hash-object -t tree /dev/null)" --; fi
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny > /dev/null; then \
	    cargo deny --offline check --hide-inclusion-graph licenses bans sources; \
	    if cargo deny fetch db > /dev/null 2>&1; then cargo deny check --hide-inclusion-graph advisories; \
	    else echo "the database of advisories cannot be fetched: dependencies were not checked against it"; fi; \
	else \
	    echo "cargo-deny is not installed: licences and sources of dependencies were not checked"; \
	fi

check: setup ## Check formatting, lints and unit tests of what changed (BASE=COMMIT), within two minutes once built
	@env $(TEST_ENVIRONMENT) TEST_THREADS=$(TEST_THREADS) deploy/check.sh

# Programs, tests and lints are one build, as deploy/lint-rustc.sh says.
test: ## Check formatting and lints, then run all tests
	@report() { \
	    { code=$$?; set +x; } 2>/dev/null; \
	    if [ $$code -eq 0 ]; then outcome=passed; else outcome=FAILED; fi; \
	    echo "make test: $$outcome after $$SECONDS s"; \
	}; \
	trap report EXIT; set -x; \
	deploy/setup.sh libtorch redis prometheus; \
	cargo fmt --all --check; \
	export RUSTC_WORKSPACE_WRAPPER="$$PWD/deploy/lint-rustc.sh"; \
	cargo build --workspace --all-targets; \
	env $(TEST_ENVIRONMENT) cargo test --workspace -- --test-threads=$(TEST_THREADS)

# Base images that no registry gives are made from Debian packages. What `make test` runs skips this test: to build the image
# takes ten minutes, and one that happens to be there says nothing of these sources.
test-compose: setup ## Build the images, then start, scale, kill and restart the containers; not in `make test`: minutes
	@$(COMPOSE) pull --quiet redis redis-exporter alertmanager prometheus || deploy/base-images.sh
	@$(MAKE) images
	cargo build --workspace --bins
	env $(TEST_ENVIRONMENT) cargo test --workspace --test system compose:: -- --ignored --nocapture

# How many faults, and the seed that they are drawn from; without one a seed is drawn and printed.
FAULTS ?= 300
SEED ?=
chaos: setup ## Random faults of real processes and connections, then the audit: FAULTS=300 SEED=7
	cargo build --workspace --bins
	env $(TEST_ENVIRONMENT) CHAOS_FAULTS=$(FAULTS) CHAOS_SEED=$(SEED) \
	    cargo test --workspace --test system chaos:: -- --ignored --nocapture

# How many runs are killed at random points and compared with one that was not.
RUNS ?= 20
THREADS ?= 1
deterministic: setup ## Killed runs of rollout.deterministic equal one that was not, bit by bit: RUNS=20 SEED=7 THREADS=2
	cargo build --workspace --bins
	env $(TEST_ENVIRONMENT) DETERMINISTIC_RUNS=$(RUNS) DETERMINISTIC_SEED=$(SEED) DETERMINISTIC_THREADS=$(THREADS) \
	    cargo test --workspace --test system deterministic:: -- --ignored --nocapture

# How long, half of it for decoders and half over connections, with SEED as above.
SECONDS ?= 600
fuzz: setup ## Damaged inputs for every decoder that reads from outside, then for every handler: SECONDS=600 SEED=7
	cargo build --workspace --bins
	env $(TEST_ENVIRONMENT) FUZZ_SECONDS=$$(( $(SECONDS) / 2 )) FUZZ_SEED=$(SEED) \
	    cargo test --workspace --test decoders -- --ignored --nocapture --test-threads=1

lint-proto: ## Check the proto files by buf's rules, and that they break nothing since the last tag (AGAINST=TAG)
	@venv=.deps/buf; \
	if [ ! -x $$venv/bin/buf ]; then \
	    python3 -m venv $$venv && $$venv/bin/pip install --quiet --disable-pip-version-check buf-bin==$(BUF); \
	fi; \
	cd proto; ../$$venv/bin/buf lint; \
	if [ -n "$(AGAINST)" ]; then \
	    ../$$venv/bin/buf breaking --against "../.git#ref=$(AGAINST),subdir=proto"; \
	else \
	    echo "there is no tag to compare with"; \
	fi

wheel: ## Build the Python client into target/wheel
	@clients/python/run.sh wheel target/wheel

wheel-verifier: ## Build the grader as a Python wheel, for other trainers, into target/wheel
	cargo build --release -p anytime-verifier
	@clients/verifier-python/run.sh wheel "$${CARGO_TARGET_DIR:-target}/release/anytime-verifier" target/wheel

test-python: setup ## Check types of the Python packages, and run their tests and other clients against real servers
	@clients/python/run.sh check
	cargo build --workspace --bins
	@clients/verifier-python/run.sh check "$${CARGO_TARGET_DIR:-target}/debug/anytime-verifier"
	env $(TEST_ENVIRONMENT) cargo test --workspace --test system python_client:: -- --ignored --nocapture
	env $(TEST_ENVIRONMENT) cargo test --workspace --test system foreign_clients:: -- --ignored --nocapture

# Private items are there, so that links to them lead somewhere.
docs: setup ## Build the documentation of all crates, private items included; SERVE=1 serves it on this machine
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --no-deps --workspace --document-private-items
	@folder="$${CARGO_TARGET_DIR:-target}/doc"; \
	if [ -n "$(SERVE)" ]; then \
	    echo "http://127.0.0.1:$(PORT)/anytime_learner/ (interrupt to end)"; \
	    python3 -m http.server --bind 127.0.0.1 --directory "$$folder" $(PORT); \
	else \
	    echo "$$folder/anytime_learner/index.html"; \
	fi

profile: setup ## Name the operators that time goes to: WHAT=engine|trainer MODEL=DIR (random weights) ARGS="--json …"
	cargo build --release -p anytime-bench
	@"$${CARGO_TARGET_DIR:-target}"/release/anytime-bench profile $(WHAT) \
	    $(if $(MODEL),--checkpoint "$(MODEL)",--shape smollm2-135m) --repetitions 1 $(ARGS)

bench-verifier: ## Compare the answer grader with its peers: verdicts and speed on the labelled cases
	@bench/verifier/run.sh

bench-fleet: ## A fleet without a model on learner and Redis, beside redis-benchmark (under five minutes once built)
	@bench/fleet/run.sh

bench-serving: ## Accuracy against tokens and latency of branches, pruning and early stops: MODEL=DIR PROBLEMS=FILE BUDGET=N
	@bench/serving/run.sh

bench: setup ## Compare decoding, rollouts and training with their peers on SmolLM2-135M (about an hour)
	@bench/speed/run.sh

bench-gpu: ## On a CUDA host: check it against the CPU, then measure decoding, rollouts and training
	@bench/speed/gpu.sh

# One task's study, with the figures beside it: `make study-stability TASKS=chains`.
TASKS ?= chains products
study-stability: build ## Long runs: which settings keep them from falling (a day for all; goes on where it was)
	@for task in $(TASKS); do \
	    target/release/anytime study "docs/study/stability-$$task.toml" --out "runs/study/stability-$$task" \
	        --actors 2 --threads 1; \
	done

dashboards: setup ## Draw the dashboards of a small job into docs/dashboards (two minutes once built; fetches matplotlib)
	@deploy/setup.sh prometheus
	cargo build --workspace --bins
	env $(TEST_ENVIRONMENT) cargo test --workspace --test system main_job::the_dashboards_are_drawn -- --ignored --nocapture

# The second name stays with these sources when the next image takes the first, so that one can go back to it.
FLAVOUR ?= cpu
images: ## Build the container image, named by flavour and commit: FLAVOUR=cpu|cuda
	docker build -f deploy/Dockerfile -t anytime:$(FLAVOUR) -t anytime:$(FLAVOUR)-$(COMMIT) \
	    --build-arg LIBTORCH_FLAVOUR=$(FLAVOUR) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) .

clean-runs: ## Delete what local runs and the demo wrote
	rm -rf runs
