#!/bin/sh
# Compiles src to dist. The new build replaces the old one only when it is whole, so a type error leaves a build that runs.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"

new="dist.new.$$"
trap 'rm -rf "$new"' EXIT
mkdir "$new"
touch "$new/.built" # the time of the sources that are compiled, not of the end of the build
tsc -p tsconfig.build.json --outDir "$new"
rm -rf dist
mv "$new" dist
