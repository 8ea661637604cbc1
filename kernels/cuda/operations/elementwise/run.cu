#include "kernels/cuda/operations/common.cuh"
#include "kernels/cuda/operations/overlap.cuh"

namespace krasis::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void embedding_kernel(WeightShape shape, const std::uint8_t* table, const std::int32_t* ids, float* out) {
  const std::int64_t token = blockIdx.x;
  const std::int32_t id = ids[token];
  const bool known = id >= 0 && id < shape.rows;
  float* row = out + token * shape.columns;
  for (int i = static_cast<int>(threadIdx.x); i < shape.columns; i += kThreads) {
    row[i] = known ? weight_at(shape, table, id, i) : 0.0f;
  }
}

/// A number for each thread, in strides of the grid.
__device__ std::int64_t first_index() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ std::int64_t index_stride() {
  return static_cast<std::int64_t>(gridDim.x) * kThreads;
}

__global__ void swiglu_kernel(const float* gate, const float* up, __nv_bfloat16* out, std::int64_t count, Glu glu) {
  wait_for_predecessor();
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    out[i] = __float2bfloat16_rn(activate(glu, gate[i], up[i]));
  }
}

__global__ void add_kernel(const float* x, float* out, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) out[i] += x[i];
}

__global__ void fill_kernel(float* out, float value, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) out[i] = value;
}

__global__ void count_experts_kernel(const std::int32_t* ids, std::int64_t* counts, std::int64_t picks,
                                     std::int64_t experts) {
  for (std::int64_t i = first_index(); i < picks; i += index_stride()) {
    const std::int32_t id = ids[i];
    // Integers: their sum does not depend on the order.
    if (id >= 0 && id < experts) atomicAdd(reinterpret_cast<unsigned long long*>(counts + id), 1ULL);
  }
}

__global__ void advance_kernel(const std::int32_t* token, std::int32_t* id, std::int32_t* position) {
  *id = *token;
  *position += 1;
}

unsigned grid_for(const Launch& launch, std::size_t count) {
  const unsigned wanted = blocks_for(static_cast<std::int64_t>(count), kThreads);
  const auto most = static_cast<unsigned>(launch.multiprocessors) * 16u;
  return wanted < most ? wanted : most;
}

}  // namespace

template <>
void run(const Launch& launch, const EmbeddingArgs& args) {
  if (args.ids.empty()) return;
  embedding_kernel<<<static_cast<unsigned>(args.ids.size), kThreads, 0, launch.stream>>>(
      shape_of(args.table.layout), bytes_of(args.table.data), args.ids.data, args.out.data);
}

template <>
void run(const Launch& launch, const SwiGluArgs& args) {
  launch_overlapped(launch, swiglu_kernel, dim3(grid_for(launch, args.out.size)), kThreads, 0, args.gate.data,
                    args.up.data, device_bf16(args.out.data), static_cast<std::int64_t>(args.out.size), args.glu);
}

template <>
void run(const Launch& launch, const AddArgs& args) {
  add_kernel<<<grid_for(launch, args.out.size), kThreads, 0, launch.stream>>>(args.x.data, args.out.data,
                                                                              static_cast<std::int64_t>(args.out.size));
}

template <>
void run(const Launch& launch, const FillArgs& args) {
  fill_kernel<<<grid_for(launch, args.out.size), kThreads, 0, launch.stream>>>(
      args.out.data, args.value, static_cast<std::int64_t>(args.out.size));
}

template <>
void run(const Launch& launch, const CountExpertsArgs& args) {
  count_experts_kernel<<<grid_for(launch, args.ids.size), kThreads, 0, launch.stream>>>(
      args.ids.data, args.counts.data, static_cast<std::int64_t>(args.ids.size),
      static_cast<std::int64_t>(args.counts.size));
}

template <>
void run(const Launch& launch, const AdvanceArgs& args) {
  advance_kernel<<<1, 1, 0, launch.stream>>>(args.token.data, args.id.data, args.position.data);
}

}  // namespace krasis::cuda
