#!/usr/bin/env bash
# Prints the path of a copy of a Node.js project, with its dependencies and the Node.js that it asks for
# (node_modules/node/bin/node), under the build folder ($STARLING_BUILD_DIR, or ./build). The dependencies are installed
# again when the lock file changes.
#   node-env.sh NAME FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: node-env.sh NAME FOLDER}
folder=${2:?usage: node-env.sh NAME FOLDER}
environment=${STARLING_BUILD_DIR:-$PWD/build}/$name
wanted=$(cat "$folder/package.json" "$folder/package-lock.json" | sha256sum)

if [[ ! -x $environment/node_modules/node/bin/node || $(cat "$environment/made-from" 2>/dev/null) != "$wanted" ]]; then
    rm -rf "$environment"
    mkdir -p "$environment"
    cp "$folder/package.json" "$folder/package-lock.json" "$environment/"
    # The system's Node.js only installs; what it says of its own version doesn't matter.
    npm --prefix "$environment" ci --no-audit --no-fund --loglevel=error >&2
    "$environment/node_modules/node/bin/node" --version >&2
    echo "$wanted" >"$environment/made-from"
fi
cp "$folder"/*.js "$environment/"
echo "$environment"
