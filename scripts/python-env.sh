#!/usr/bin/env bash
# Prints the path of a Python that has the packages of a requirements file, in a virtual environment
# under the build folder ($STARLING_BUILD_DIR, or ./build). It is made again when the file changes.
#   python-env.sh NAME REQUIREMENTS
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: python-env.sh NAME REQUIREMENTS}
requirements=${2:?usage: python-env.sh NAME REQUIREMENTS}
build=${STARLING_BUILD_DIR:-$PWD/build}
venv=$build/$name
wanted=$( (python3 -c 'import sys; print(sys.executable, sys.version)' && cat "$requirements") | sha256sum)

if [[ ! -x $venv/bin/python || $(cat "$venv/made-from" 2>/dev/null) != "$wanted" ]]; then
    rm -rf "$venv"
    mkdir -p "$build"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements" >&2
    "$venv/bin/pip" check --disable-pip-version-check >&2
    echo "$wanted" >"$venv/made-from"
fi
echo "$venv/bin/python"
