#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/runtime/admission.h"
#include "engine/runtime/device_state.h"
#include "engine/runtime/engine.h"

namespace krasis {

/// Which device keeps each expert for decode, -1 = none: [layers with experts * experts]. On each caching device the
/// hot_experts() most picked ones of the layers that it may cache; ties go to the earlier layer, then the smaller id.
std::vector<int> choose_cached_experts(const ModelSpec& spec, const RunConfiguration& configuration,
                                       const std::vector<std::int64_t>& heatmap);

/// The GPU's blocks of the `expert_layer`-th layer that has experts.
View<const std::byte> experts_of_layer(const PackedModel& model, std::size_t expert_layer);

/// Which experts lie on devices for decode and which the CPU computes; how often each kind was picked.
///
/// With hcs_policy adaptive the set follows the text. Every kTokensPerAdmission steps the host, which has counted the
/// picks of each token, first puts the experts whose copies it enqueued last time into the tables, and the victims out;
/// then it chooses the next ones (choose_admissions) and enqueues their copies. Steps are counted from the prompt and
/// nothing else decides, so what is computed where depends on the text alone, never on how long a copy takes. A copy
/// goes into a slot that no table names: one of the cache's spare slots, or of the group buffers, which only a streamed
/// prompt needs. Every prompt begins with the first set again, for CPU and GPU do not give equal bits.
///
/// Ordering: the copies run on the device's loader, behind the prompt's; before the tables name an expert, the compute
/// stream waits for the last of them ("experts are in the cache"). The slots that copies go to were last read by steps
/// whose token the host has waited for ("token is known"), and so were the host's tables.
class ExpertCache {
 public:
  /// `first` as choose_cached_experts() gives it, chosen by `heatmap`; both empty with hcs off. `tables` is page-locked
  /// memory, [devices, layers with experts * experts], or empty with hcs off. Enqueues the copies of the first set.
  ExpertCache(const PackedModel& model, const RunConfiguration& configuration, std::span<DeviceState> devices,
              const std::vector<int>& first, const std::vector<std::int64_t>& heatmap, View<std::int64_t> tables);

  /// Before a prompt: the first set, and counts of zero. `streamed`: the group buffers are the prompt's.
  void begin(bool streamed);
  /// Before each decode step is enqueued.
  void before_step();
  /// The next before_step() needs the steps before it done.
  bool decides_now() const { return adaptive_ && step_ % kTokensPerAdmission == 0; }
  /// After the last step: enqueues the copies of the experts of the first set that had to leave, before the next prompt
  /// needs them.
  void end();
  /// Since begin().
  CacheUse use() const;

  /// Between texts, to time a step without experts on the CPU: its tables name none, and the devices' none either or, with
  /// `cached`, all of the layers that they cache experts of (other experts' blocks stand for absent ones). Until restore()
  /// what steps compute has no meaning. No step may be under way.
  void pretend(bool cached);
  void restore();
  const std::vector<CacheChange>& changes() const { return changes_; }

  /// The device that caches experts of a layer at any time; -1 = none does.
  int device_of(std::int64_t expert_layer) const { return device_of_[static_cast<std::size_t>(expert_layer)]; }
  /// Not all experts of the layer are cached all the time.
  bool needs_cpu(std::int64_t expert_layer) const { return needs_cpu_[static_cast<std::size_t>(expert_layer)]; }
  /// [experts]: where the CPU's block of an expert lies in its layer, -1 = cached on a device.
  View<const std::int64_t> cpu_offsets(std::int64_t expert_layer) const;
  /// Counts a token's picks in a layer that needs the CPU; called by the CPU's lane. counted() is what it writes.
  void count(std::int64_t expert_layer, View<const std::int32_t> ids);
  View<const std::int32_t> counted(std::int64_t expert_layer) const;

 private:
  struct Slot {
    std::byte* data = nullptr;
    std::int64_t holds = -1;  ///< the expert whose block is there, or will be when the loader has done what it was told
    bool taken = false;       ///< named by the table, or sent for
  };
  struct OnDevice {
    DeviceState* state = nullptr;
    View<std::int64_t> table;           ///< page-locked: what cache_offsets will be
    std::vector<Slot> slots;            ///< the cache's own, then those of group buffers
    std::size_t own = 0, spare = 0;
    std::vector<std::int64_t> held_in;  ///< [layers with experts * experts]: the slot that holds an expert, -1 = none
    std::vector<Admission> coming;
    bool as_begun = false;              ///< the table names the first set
  };
  std::size_t entries() const { return first_.size(); }
  std::int64_t cpu_offset(std::size_t i) const { return static_cast<std::int64_t>(i % experts_ * model_.cpu_expert_layout.bytes()); }

  void load(OnDevice& d, std::int64_t expert, std::size_t slot);
  void load_into_free(OnDevice& d, const std::vector<std::int64_t>& experts);
  /// Gives each of `coming` a slot: the one that still holds it, or a free one that it is copied to.
  void send_for(OnDevice& d);
  void enter(OnDevice& d, std::int64_t expert);
  void leave(OnDevice& d, std::int64_t expert);
  /// Brings the table to the device, behind the copies of what it names.
  void publish(OnDevice& d);
  void restore_first(OnDevice& d);
  void admit_coming(OnDevice& d, int step);
  std::vector<Admission> choose(const OnDevice& d) const;

  const PackedModel& model_;
  bool adaptive_ = false;
  std::size_t experts_ = 0, block_ = 0;  ///< of a layer; bytes of one
  std::vector<int> first_;
  std::vector<std::int64_t> heatmap_;
  Device* home_ = nullptr;
  std::vector<OnDevice> devices_;
  std::vector<int> device_of_;             ///< [layers with experts]
  std::vector<bool> needs_cpu_;            ///< [layers with experts]
  std::vector<std::int64_t> cpu_offsets_;  ///< [layers with experts * experts]
  std::vector<std::int32_t> picks_;        ///< [layers with experts * experts], since the last decision
  std::vector<std::int64_t> hits_, misses_;  ///< [layers with experts], where the CPU is needed
  std::vector<std::int64_t> by_misses_;      ///< [top_k + 1], where the CPU is needed
  PickScores scores_;
  std::vector<CacheChange> changes_;
  int step_ = 0;
  std::int64_t admitted_ = 0;
  std::size_t admitted_bytes_ = 0;
};

}  // namespace krasis
