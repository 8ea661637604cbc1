#!/usr/bin/env bash
# Checks and measures what docs/performance/gpu.md says, correctness first:
#   tests/benchmarks/measure_gpu.sh BUILD_DIR [STEP...]
# Steps: checks operations decode load, and the names of sweeps (prefill-a, lengths-a, decode-a, host-a, ...); prefill
# and host are all three shapes, two-gpus those on one and two GPUs with the copies between them. Without any, all but
# two-gpus, some twenty minutes. Takes 64 GB of GPU memory, 48 GB of host memory and, for `load`, 17 GB of disk; shape B
# 32 GB more, `prefill-b-94` 126 GB in all. A step that fails does not stop the others; the script ends with 1 then.
#
# BUILD_DIR is a build directory or a folder that holds its programs side by side. Beside them only resources/ and
# tests/ of the source tree are needed, for `checks` under the path that the programs were built from. Runs are stored in
# $KRASIS_MEASURED, measured.db unless set.
set -uo pipefail
build=$(cd "${1:?the build directory}" && pwd) || exit 2
shift
cd "$(dirname "$0")/../.." || exit 2
export KRASIS_RESOURCES=$PWD/resources
database=${KRASIS_MEASURED:-measured.db}
sweeps=tests/benchmarks/sweeps
all=(checks operations decode load prefill lengths-a decode-a decode-c host)
failed=0

program() {  # its place in a build directory, or beside the others
  local file=$build/$1
  [ -x "$file" ] || file=$build/${1##*/}
  echo "$file"
}
run() {  # seconds at most, then the command
  local limit=$1 begin=$SECONDS code
  shift
  echo "== $*"
  timeout "$limit" "$@"
  code=$?
  echo "== $((SECONDS - begin)) s"
  [ $code -eq 0 ] && return
  echo "== failed with exit code $code: $*"
  failed=1
}
bench() {
  local name
  for name in "$@"; do
    run 300 "$(program app/krasis)" bench "$sweeps/$name.toml" --database "$database"
  done
}
step() {
  local test packed
  case $1 in
    checks)
      nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,power.draw --format=csv
      for test in kernels/cuda/cuda_probe_test kernels/cuda/cuda_platform_test \
        kernels/cuda/operations/cuda_operations_test engine/runtime/cuda_engine_test; do
        run 240 stdbuf -oL "$(program "tests/$test")" --gtest_brief=1
      done
      ;;
    operations) run 120 "$(program tests/benchmarks/krasis_cuda_operations_benchmark)" ;;
    decode) run 60 "$(program tests/benchmarks/krasis_cuda_decode_benchmark)" ;;
    load)
      packed=$(mktemp -d "$PWD/packed-XXXXXX")
      run 120 "$(program tests/benchmarks/krasis_load_benchmark)" "$packed" resources/models/shapes/qwen3-30b-a3b cuda
      rm -rf "$packed"
      ;;
    two-gpus)
      for access in off on; do
        KRASIS_PEER_ACCESS=$access run 240 stdbuf -oL "$(program tests/kernels/cuda/cuda_platform_test)" --gtest_brief=1
      done
      run 60 "$(program tests/benchmarks/krasis_cuda_operations_benchmark)" copies
      bench two-gpus-a two-gpus-b two-gpus-c
      ;;
    prefill | host) bench "$1-a" "$1-b" "$1-c" ;;
    *) bench "$1" ;;
  esac
}

[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
  case " ${all[*]} two-gpus " in
    *" $name "*) ;;
    *) [ -f "$sweeps/$name.toml" ] || { echo "No step '$name': ${all[*]} two-gpus or a sweep of $sweeps" >&2; exit 2; } ;;
  esac
done
for name in "$@"; do step "$name"; done
exit $failed
