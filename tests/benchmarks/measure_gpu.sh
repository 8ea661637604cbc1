#!/usr/bin/env bash
# Checks and measures everything that docs/performance.md says of a GPU, correctness first. Run from the repository root:
#   tests/benchmarks/measure_gpu.sh BUILD_DIR [DATABASE]
# Takes some ten minutes, 64 GB of GPU memory and 48 GB of host memory. A step that fails does not stop the others.
set -uo pipefail
build=${1:?the build directory}
database=${2:-measured.db}
sweeps=$(dirname "$0")/sweeps

step() {  # seconds at most, then the command
  local limit=$1
  shift
  echo "== $*"
  timeout "$limit" "$@"
  local code=$?
  [ $code -eq 0 ] || echo "== failed with exit code $code: $*"
}

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,power.draw --format=csv
for test in cuda_probe_test cuda_platform_test operations/cuda_operations_test; do
  step 120 stdbuf -oL "$build/tests/kernels/cuda/$test" --gtest_brief=1
done
step 60 stdbuf -oL "$build/tests/engine/runtime/cuda_engine_test" --gtest_brief=1
step 60 "$build/tests/benchmarks/krasis_cuda_operations_benchmark"
step 60 "$build/tests/benchmarks/krasis_cuda_decode_benchmark"
packed=$(mktemp -d "$PWD/packed-XXXXXX")  # 17 GB of disk
step 120 "$build/tests/benchmarks/krasis_load_benchmark" "$packed" "$(dirname "$0")/../../resources/models/shapes/qwen3-30b-a3b" cuda
rm -rf "$packed"
for sweep in prefill-a prefill-b prefill-c lengths-a decode-a decode-c host-a host-b host-c; do
  step 300 "$build/app/krasis" bench "$sweeps/$sweep.toml" --database "$database"
done
