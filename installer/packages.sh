#!/usr/bin/env bash
# Installs what building and running need on Debian 12; `packages.sh test` adds what the tests need.
set -euo pipefail

build="cmake ninja-build g++ pkg-config git ccache
  qt6-base-dev qt6-charts-dev libqt6opengl6-dev qt6-svg-dev libqt6svg6
  libtbb-dev libsqlite3-dev libsqlitecpp-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev
  libtomlplusplus-dev libexpected-dev libhwloc-dev libpcre2-dev libutf8proc-dev libxxhash-dev
  libgtest-dev libgmock-dev libbenchmark-dev fonts-dejavu"
test="xz-utils xvfb xauth python3 locales clang-format clang-tidy"

packages=$build
if [ "${1:-}" = test ]; then packages="$build $test"; fi

missing=
for package in $packages; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -z "$missing" ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "This script knows Debian's apt-get only. Install these packages by hand:$missing" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Installing packages needs root. Run this as root, or install sudo. Missing:$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
echo "Installing:$missing" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086  # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
