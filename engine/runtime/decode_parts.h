#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"

namespace krasis {

struct DecodeStaging;
struct HostCompute;
struct PackedModel;

/// What a token of decode takes by its parts, measured on this machine with the kernels, the threads and the hand-over
/// that decode has: what bandwidths alone leave out. Seconds.
struct DecodeParts {
  double device_s = 0;  ///< a token without experts, their hand-over to the CPU included; attention resident
  double streamed_s = 0;  ///< the same with streamed attention's copies beside it; 0 = resident
  std::vector<double> cpu_layer_s;     ///< [top_k + 1]: entry n is n experts of a layer on the CPU
  std::vector<double> device_layer_s;  ///< [top_k + 1]: n on a device; top_k were measured, fewer are their share
};

/// Seconds of a token: in each layer, after what has no experts, CPU and device compute the picked ones at once.
///
///   max(streamed_s, device_s + sum_n layers_by_misses[n] / tokens * max(cpu_s[n], device_layer_s[top_k - n]))
///   cpu_s[n] = max(0, cpu_layer_s[n] - cpu_layer_s[0]): device_s has the CPU's task with no expert to compute already
///
/// @param layers_by_misses  [top_k + 1], of CacheUse
/// @param tokens            that it counts; with 0 nothing is predicted: 0
double predict_decode_s(const DecodeParts& parts, std::span<const std::int64_t> layers_by_misses, std::int64_t tokens);

/// DecodeParts::cpu_layer_s: for each number of picks the median of all layers with experts, or of several passes over a
/// few. The picks are random and distinct, and each layer comes in turn, so that their weights come from memory.
/// Overwrites the first token of `staging`. Cancelled if `stop`, looked at before each layer, asks for it.
Expected<std::vector<double>> measure_cpu_layer_s(const PackedModel& model, const HostCompute& cpu,
                                                  const DecodeStaging& staging, const std::stop_token& stop);

}  // namespace krasis
