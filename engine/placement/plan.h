#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config/parameters.h"
#include "engine/placement/engine_memory.h"

namespace krasis {

/// What the machine gives, for the plan. Bandwidths in GB/s (1e9 bytes), measured where they are known.
struct Hardware {
  int devices = 1;                    ///< that exist (the host device can pretend any number up to 16)
  std::size_t host_memory_bytes = 0;  ///< that the process with the engine can still get (engine/system/memory.h)
  double h2d_gb_per_s = 0;            ///< host to device, page-locked
  double host_read_gb_per_s = 0;      ///< all threads reading
  double device_read_gb_per_s = 0;
  double device_tflop_per_s = 0;  ///< dense products
};

/// Bytes that one thing needs in one place. `device` is -1 for host memory.
struct PlanItem {
  int device = -1;
  std::string place;  ///< the allocator's name for it: "dense weights", "group buffers", "kv cache", "activations", ...
  std::size_t bytes = 0;
  std::string meaning;  ///< for the tooltip: "2 x 2 layers of 16 experts, INT4"
};

/// One bar of the form: a device, or the host's memory.
struct PlanPlace {
  int device = -1;
  std::size_t needed_bytes = 0;
  std::size_t budget_bytes = 0;
  bool fits() const { return needed_bytes <= budget_bytes; }
};

/// What lives where, how many bytes, and how long it should take. A pure function's result: the fit bar shows it, the
/// engine allocates what it measured (engine_memory.h) and refuses what it says does not fit; after a run it is stored
/// beside what was used.
struct Plan {
  std::vector<PlanItem> items;
  std::vector<PlanPlace> places;    ///< host first, then the devices
  std::vector<std::string> advice;  ///< when over budget: which change would free how much, best first
  double predicted_prefill_s = 0;   ///< of prompt_tokens; 0 if the hardware's rates are not known
  double predicted_decode_s_per_token = 0;
  std::size_t prefill_copy_bytes = 0;           ///< over the link for one prompt
  std::size_t decode_bytes_per_token = 0;       ///< read by CPU and devices
  std::size_t decode_copy_bytes_per_token = 0;  ///< over the link: streamed attention
  int cached_experts = 0;

  bool fits() const;
  std::size_t bytes(int device, const std::string& place) const;
};

/// Everything that `configuration` cannot be with `model` on `hardware` (LGS beyond the layers, more devices than
/// exist), each at its parameter. Empty: make_plan() plans it.
std::vector<Problem> validate(const ModelSpec& model, const RunConfiguration& configuration, const Hardware& hardware);

/// The plan of `configuration` for `model` on `hardware`, or the error of the first problem that validate() finds. A
/// plan that does not fit is no error here: it says so.
Expected<Plan> make_plan(const ModelSpec& model, const RunConfiguration& configuration, const Hardware& hardware);

/// Seconds of a token of decode if reading its bytes takes all the time: in each layer first what is resident, then the
/// picked experts, which CPU and device read at the same time; streamed attention is copied beside all that. No
/// kernel's start, no hand-over: a limit.
///
/// @param hit_shares  [layers with experts] of the picks, 0..1, whose expert a device caches, as measured or foreseen
/// @return 0 if a bandwidth is not known
double predict_decode_s(const ModelSpec& model, const RunConfiguration& configuration, const Hardware& hardware,
                        std::span<const double> hit_shares);

}  // namespace krasis
