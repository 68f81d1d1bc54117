#!/usr/bin/env bash
# Compiles one crate of the workspace and looks over it with clippy's lints, which end it, in the same go. `make test` has
# cargo call it in rustc's place: everything is compiled once, where `cargo clippy` beside a build reads it all twice.
#
#   usage: RUSTC_WORKSPACE_WRAPPER=deploy/lint-rustc.sh cargo build
exec clippy-driver "$@" -D warnings
