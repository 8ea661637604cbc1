#!/usr/bin/env bash
# How fast one build is beside another, on one machine in one run: both run the same sweeps in turns.
#
#   tests/benchmarks/compare_speed.sh OLD_KRASIS NEW_KRASIS [TURNS [SWEEP...]]
#
# OLD_KRASIS and NEW_KRASIS are two `krasis` programs; TURNS is 2 unless given, SWEEP names files of
# tests/benchmarks/sweeps (before-after-a and before-after-c unless given, which need a GPU with 64 GiB and 48 GiB of
# host memory). Prints for each configuration the best median of either build's turns and their ratio, new over old.
# Exit status: 1 if a run failed or is not PASS, or a ratio is below 0.97.
set -euo pipefail
cd "$(dirname "$0")/../.."
old=$(realpath "${1:?the old krasis}") new=$(realpath "${2:?the new krasis}") turns=${3:-2}
shift $(($# < 3 ? $# : 3))
(($#)) || set -- before-after-a before-after-c
export KRASIS_RESOURCES=$PWD/resources
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for sweep in "$@"; do
  for ((turn = 1; turn <= turns; ++turn)); do
    for build in old new; do
      echo "$sweep, turn $turn, $build" >&2
      "${!build}" bench "tests/benchmarks/sweeps/$sweep.toml" --database "$work/$build-$turn-$sweep.db" -o csv \
        >"$work/$build-$turn-$sweep.csv" || true
    done
  done
done
python3 - "$work" <<'PYTHON'
import csv, glob, os, sys

speeds, bad = {}, []
for file in sorted(glob.glob(sys.argv[1] + "/*.csv")):
    build, turn, sweep = os.path.basename(file)[:-4].split("-", 2)
    rows = list(csv.DictReader(open(file)))
    if not rows:
        bad.append(f"{sweep}: the {build} build gave no run in turn {turn}")
    for row in rows:
        where = f"{sweep} {row['device']} hcs={row['hcs']} share={row['hcs_share']}"
        if row["status"] != "done" or row["verdict"] != "pass":
            bad.append(f"{where}, {build}, turn {turn}: {row['status']} {row['verdict']} {row['cause']}")
            continue
        for metric in ("prefill_tokens_per_second", "decode_tokens_per_second"):
            speeds.setdefault((where, metric), {}).setdefault(build, []).append(float(row[metric + "_median"]))
for (where, metric), builds in speeds.items():
    if len(builds) < 2:
        continue
    old, new = max(builds["old"]), max(builds["new"])
    print(f"{where:45} {metric[:7]}  old {old:10.2f}  new {new:10.2f} tok/s  {new / old:.3f}   turns {builds}")
    if new / old < 0.97:
        bad.append(f"{where}, {metric[:7]}: {new / old:.3f} of the old speed")
print("\n".join(bad) if bad else "No ratio is below 0.97.")
sys.exit(bool(bad))
PYTHON
