#!/usr/bin/env bash
# Installs packages, builds, and runs: the window if there is a display, else the first sweep with the embedded model,
# whose table is printed and whose database stays in build/first-sweep.db.
set -euo pipefail
cd "$(dirname "$0")/.."

installer/packages.sh
cmake --preset default >&2
cmake --build build/default --target krasis krasis-workbench >&2

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  exec build/default/app/krasis-workbench "$@"
fi
echo "No display: running the first sweep headless." >&2
exec build/default/app/krasis bench resources/presets/first-sweep.toml --database build/first-sweep.db -o md
