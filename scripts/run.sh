#!/usr/bin/env bash
# `make run`: builds the program (release) and starts it with the development profile in ./data.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/ensure-packages.sh run
cargo build --release --locked --package starling
exec "${CARGO_TARGET_DIR:-target}/release/starling" serve
