#!/usr/bin/env bash
# Installs packages, builds, and runs all tests.
set -euo pipefail
cd "$(dirname "$0")/.."

installer/packages.sh test
cmake --preset default >&2
cmake --build build/default >&2
report=$PWD/build/default/tests.xml
ctest --test-dir build/default --output-on-failure --timeout 900 -j 2 --output-junit "$report" "$@"
tests/known_skips.py "$report"
