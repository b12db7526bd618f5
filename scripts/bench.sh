#!/usr/bin/env bash
# `make bench`, `make bench-short`: builds the program and the benchmark (release), and measures first whole servers, then
# state resolution and events. Tables go to the standard output, what is being measured to the standard error, and the
# figures to bench.json (whole servers) and bench-core.json in the build folder ($STARLING_BUILD_DIR, or ./build).
#   bench.sh [--short] [OPTION…]   options of `starling-bench servers`, for example --target NAME=http://HOST:PORT
set -euo pipefail
cd "$(dirname "$0")/.."

short=()
if [[ ${1:-} == --short ]]; then
    short=(--short)
    shift
fi
scripts/ensure-packages.sh bench
cargo build --release --locked --package starling --package starling-bench
synapse=$(scripts/python-env.sh bench-synapse crates/bench/synapse-requirements.txt)
built=${CARGO_TARGET_DIR:-target}/release
figures=${STARLING_BUILD_DIR:-build}
mkdir -p "$figures"

# The long run has PostgreSQL too; it syncs, as SQLite does.
beside=()
[[ ${#short[@]} -gt 0 ]] || beside=(scripts/with-postgres.sh)
# A server that fails is noted in the tables, and doesn't keep the rest from being measured.
status=0
"${beside[@]}" "$built/starling-bench" servers "${short[@]}" --starling "$built/starling" \
    --synapse-python "$synapse" --json "$figures/bench.json" "$@" || status=$?
"$built/starling-bench" core "${short[@]}" --json "$figures/bench-core.json" || status=$?
exit "$status"
