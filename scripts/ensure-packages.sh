#!/usr/bin/env bash
# Installs the system packages that a task needs and that are missing.
#   ensure-packages.sh run|test|bench
# As root: one `apt-get update` and one `apt-get install`, only when something is missing.
# Otherwise, or where there is no apt-get: says what is missing and fails.
set -euo pipefail

missing=()

# need PACKAGE COMMAND…: the package is missing when the command fails.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

has_c_compiler() { echo '#include <stdio.h>' | cc -fsyntax-only -x c -; }
has_venv() { python3 -c 'import ensurepip, venv'; }
has_python_headers() { test -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; }
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb'; }

task=${1:?usage: ensure-packages.sh run|test|bench}
case $task in
run | test | bench) ;;
*)
    echo "ensure-packages.sh: unknown task '$task'; it is run, test or bench" >&2
    exit 2
    ;;
esac

need gcc command -v cc
need libc6-dev has_c_compiler
if [[ $task != run ]]; then
    need python3 command -v python3
    need python3-venv has_venv
    need postgresql has_postgresql
    # Synapse's driver of PostgreSQL is built from source.
    need libpq-dev command -v pg_config
    need python3-dev has_python_headers
fi
if [[ $task == test ]]; then
    need nodejs command -v node
    need npm command -v npm
    need strace command -v strace
    need valgrind command -v valgrind
fi

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: install Rust 1.95 or later (https://rustup.rs); Debian's own is too old" >&2
    exit 1
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "missing packages: ${missing[*]}" >&2
    echo "install them as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update >&2
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >&2
