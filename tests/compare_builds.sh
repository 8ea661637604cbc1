#!/usr/bin/env bash
# Proves that this tree computes to the bit what another commit computes, on this machine: packed weights and their copy
# on disk, the scalar reference's logits, and of the engine logits, picked experts, what the expert cache did, greedy
# and sampled texts; with each operation set that the machine has (scalar, AVX2, AVX-512, AMX; the wider ones emulated,
# too) or on its GPUs; for the embedded model, the goldens' checkpoints and synthetic models, over configurations in
# which any two choices (precision, placement, prefill path, KV cache, attention, ...) meet.
#
#   tests/compare_builds.sh OLD_COMMIT [NEW_COMMIT] [options]       NEW: the working tree
#   tests/compare_builds.sh --old PROBE --new PROBE [options]       two programs built before, e.g. for another machine
#
#   --cuda            builds with CUDA and compares on the GPUs instead of the host device
#   --device cuda     with --old and --new: on the GPUs
#   --only MODEL      models whose names contain it: embedded, tiny-a, tiny-b, "synthetic mixed", "synthetic wide"
#   --every N         every N-th configuration, to be quick
#   --all             every combination of choices instead of every pair (hours)
#   --build DIR       the working tree's build folder (build/compare); its objects are used
#   --keep DIR        leaves both programs (old, new) and what they computed there
#
# Prints a table of what was compared. Exit status: 0 equal, 1 a difference, 2 something could not be built or run. Both
# programs are tests/compare as it is in this tree; the old commit is built in a temporary worktree, which is removed.
# Takes about as long as building the engine (KRASIS_JOBS processes, 2) and then some minutes. To see that it can fail:
# change one bit of a formula in a working copy, e.g. an epsilon in engine/layers/layer_step.cpp.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

die() { echo "compare_builds: $*" >&2; exit 2; }

commits=() run=() old="" new="" keep="" cuda=OFF build=$root/build/compare
while (($#)); do
  case $1 in
    --old) old=$2; shift ;;
    --new) new=$2; shift ;;
    --cuda) cuda=ON; run+=(--device cuda) ;;
    --device | --only | --every) run+=("$1" "$2"); shift ;;
    --all) run+=(--all) ;;
    --build) build=$2; shift ;;
    --keep) keep=$2; shift ;;
    -*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) commits+=("$1") ;;
  esac
  shift
done

mkdir -p "$root/build"
work=$(mktemp -d "$root/build/compare_builds.XXXXXX")  # where ccache finds what other trees beside this one have built
# shellcheck disable=SC2317  # it is reached by the trap
clean() {
  for tree in "$work"/tree-*; do
    [[ -d $tree ]] && git -C "$root" worktree remove --force "$tree"
  done
  rm -rf "$work"
}
trap clean EXIT

# build_probe SOURCE BUILD TO: the probe of a tree, as a program of its own at TO.
build_probe() {
  local options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DKRASIS_UI=OFF "-DKRASIS_CUDA=$cuda")
  [[ -f $2/CMakeCache.txt ]] && options=("-DKRASIS_CUDA=$cuda")  # somebody's build folder stays as it is
  if ! cmake -S "$1" -B "$2" -G Ninja "${options[@]}" >"$work/log" 2>&1 ||
    ! nice ninja -C "$2" -j "${KRASIS_JOBS:-2}" compare_probe >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    die "$1 cannot be built"
  fi
  cp "$(find "$2" -name compare_probe -type f -perm -u+x | head -n 1)" "$3"
}

# build_commit COMMIT TO: in a worktree of its own, with this tree's probe.
build_commit() {
  local tree
  tree=$work/tree-$(basename "$2")
  git -C "$root" worktree add --quiet --detach "$tree" "$1" || die "there is no commit $1"
  rm -rf "$tree/tests/compare"
  cp -r "$root/tests/compare" "$tree/tests/compare"
  local lists=$tree/tests/CMakeLists.txt
  grep -q '^add_subdirectory(compare)' "$lists" || echo 'add_subdirectory(compare)' >>"$lists"
  echo "Building $(git -C "$tree" log -1 --format='%h %s') ..." >&2
  build_probe "$tree" "$tree/build/compare" "$2"
}

if [[ -n $old || -n $new ]]; then
  [[ -x $old && -x $new && ${#commits[@]} == 0 ]] || die "--old and --new are two programs, and no commits"
else
  ((${#commits[@]} == 1 || ${#commits[@]} == 2)) || die "give a commit to compare with (the script says more)"
  old=$work/old new=$work/new
  build_commit "${commits[0]}" "$old"
  if ((${#commits[@]} == 2)); then
    build_commit "${commits[1]}" "$new"
  else
    echo "Building $root ..." >&2
    build_probe "$root" "$build" "$new"
  fi
fi
if [[ -n $keep ]]; then
  mkdir -p "$keep"
  for program in old new; do [[ ${!program} -ef $keep/$program ]] || cp "${!program}" "$keep/$program"; done
fi

for program in old new; do
  echo "Running the $program program ..." >&2
  mkdir "$work/scratch"
  "${!program}" run "$work/$program.records" --root "$root" --scratch "$work/scratch" "${run[@]}" ||
    die "the $program program failed"
  rm -rf "$work/scratch"
  if [[ -n $keep ]]; then cp "$work/$program.records" "$keep"; fi
done
status=0
"$new" compare "$work/old.records" "$work/new.records" || status=$?
exit "$status"
