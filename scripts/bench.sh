#!/usr/bin/env bash
# `make bench`, `make bench-short`: builds the benchmark (release) and runs it; tables go to the standard output, what
# is being measured to the standard error.
# usage: scripts/bench.sh [--short]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/ensure-packages.sh run
cargo build --release --locked --package starling-bench
exec "${CARGO_TARGET_DIR:-target}/release/starling-bench" core "$@"
