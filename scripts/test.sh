#!/usr/bin/env bash
# `make test`: every check and test there is. A failed step doesn't stop the later ones; the last line
# is the total, `N passed, N failed, N skipped`, and a failure or a skip makes the exit status 1.
# A check counts as one; of test suites each test counts.
# ROUNDS and SEEDS, from the environment, make the long tests longer.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
status=0
target=${CARGO_TARGET_DIR:-$PWD/target}
sdk_peer=$target/clients/debug/starling-peer
not_clean=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step NAME COMMAND…: runs it with its output indented, so that no line of it can be taken for the
# total, and leaves the output in $log and the exit status in $status.
step() {
    local name=$1 begin=$SECONDS
    shift
    printf '== %s\n' "$name"
    "$@" </dev/null 2>&1 | tee "$log" | sed -u 's/^/   /'
    status=${PIPESTATUS[0]}
    printf '   -- %s: exit status %d, %d s\n' "$name" "$status" $((SECONDS - begin))
}

# count NAME PASSED FAILED SKIPPED: adds to the total. An exit status that no counted failure explains,
# or a suite that ran nothing, is a failure of its own.
count() {
    local name=$1 p=$2 f=$3 s=$4
    if ((f == 0)) && { ((status != 0)) || ((p + s == 0)); }; then
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    ((f + s == 0)) || not_clean+=("$name: $f failed, $s skipped")
}

check() {
    step "$@"
    if ((status == 0)); then count "$1" 1 0 0; else count "$1" 0 1 0; fi
}

# One line `test result: ok. 5 passed; 0 failed; 0 ignored; …` for each test binary.
cargo_tests() {
    step "$@"
    local counts
    read -r -a counts < <(awk '/^test result: / {
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^passed/) p += $(i - 1)
            if ($i ~ /^failed;/) f += $(i - 1)
            if ($i ~ /^ignored/) s += $(i - 1)
        }
    } END { print p + 0, f + 0, s + 0 }' "$log")
    count "$1" "${counts[@]}"
}

# A suite of ours ends with `N passed, N failed, N skipped`.
suite() {
    step "$@"
    local counts
    read -r -a counts < <(awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p = $1; f = $3; s = $5 }
        END { print p + 0, f + 0, s + 0 }' "$log")
    count "$1" "${counts[@]}"
}

# What is acknowledged survives: the release binary, and a PostgreSQL that syncs.
durability() {
    STARLING_BIN=$target/release/starling scripts/with-postgres.sh python3 tests/run.py tests/durability
}

# The client of matrix-sdk that the tests drive, from a workspace of its own. Clippy would go through all of matrix-sdk once
# more, so that is for who changes it.
build_sdk_peer() {
    cargo fmt --manifest-path clients/Cargo.toml --all --check &&
        cargo build --manifest-path clients/Cargo.toml --locked --target-dir "$target/clients"
}

# Tests with real clients: those in Python, and those in Node.js and Rust that the tests drive.
peers() {
    local python js
    python=$(scripts/python-env.sh peers tests/peers/requirements.txt) || return 1
    js=$(scripts/node-env.sh peers-js tests/peers/js) || return 1
    STARLING_PEERS_JS=$js STARLING_PEER_SDK=$sdk_peer STARLING_BIN=$target/debug/starling \
        scripts/with-postgres.sh --no-fsync "$python" tests/run.py tests/peers
}

# Conversations with Synapse on the other side, those of the list; their Python is Synapse's.
federation() {
    local python
    python=$(scripts/python-env.sh bench-synapse crates/bench/synapse-requirements.txt) || return 1
    STARLING_PEER_SDK=$sdk_peer STARLING_BIN=$target/debug/starling scripts/with-postgres.sh --no-fsync \
        "$python" tests/run.py tests/federation --only tests/federation/passing.txt
}

# The fuzz targets, a workspace of their own, build for who has a fuzzer.
fuzz_targets() {
    cargo fmt --manifest-path fuzz/Cargo.toml --check &&
        cargo check --manifest-path fuzz/Cargo.toml --locked --target-dir "$target/fuzz"
}

rust_docs() { RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked; }

finish() {
    printf '\n'
    ((${#not_clean[@]} == 0)) || printf 'not clean: %s\n' "${not_clean[@]}"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((passed > 0 && failed + skipped == 0))
    exit
}

check 'system packages' scripts/ensure-packages.sh test
((status == 0)) || finish
check 'format' cargo fmt --all --check
check 'lints' cargo clippy --workspace --all-targets --locked -- -D warnings
check 'documentation' rust_docs
check 'tidy' cargo xtask tidy
check 'every route is tested' cargo xtask routes --untested
cargo_tests 'Rust tests, both engines' \
    scripts/with-postgres.sh --no-fsync cargo test --workspace --locked --no-fail-fast
check 'fuzz targets' fuzz_targets
check 'build' cargo build --locked --package starling
# In one go, as for `make bench`: apart, what they share would be built twice, since they want it with other features.
check 'release build' cargo build --release --locked --package starling --package starling-bench
check 'counted instructions' cargo xtask instructions "$target/release/starling-bench"
check 'footprint' cargo xtask footprint "$target/release/starling"
suite 'durability' durability
check 'client of matrix-sdk' build_sdk_peer
suite 'real clients' peers
suite 'federation with Synapse' federation
finish
