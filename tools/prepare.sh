#!/bin/sh
# Makes a copy of the project ready to run: npm packages when they are missing or older than the lock file, then the
# build when it is missing or older than the sources. Quiet and quick (10 ms) when there is nothing to do.
#
# Not part of `npm start` and `npm test` but of the scripts before them: only then is the Node.js of node_modules/.bin
# found first in PATH. Packages bring their binaries along, so no install script of theirs runs.
set -eu
cd "$(dirname "$0")/.."

if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  echo "installing the npm packages of package-lock.json" >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
fi

if [ ! -e dist/.built ] || [ -n "$(find src tsconfig.json tsconfig.build.json package-lock.json -newer dist/.built -print -quit)" ]; then
  sh tools/build.sh
fi
