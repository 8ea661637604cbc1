#pragma once

#include <span>
#include <vector>

#include "engine/runtime/picks.h"
#include "engine/runtime/streamed_attention.h"

namespace krasis {

/// Prefill by layer groups: group g+1's experts are copied while group g computes; each weight crosses the link once per
/// prompt, since all chunks of the prompt pass through a group before the next one (group outside, chunk inside).
/// Experts that the layer's device caches are not copied at all.
///
/// A short prompt's tokens pick few experts: a gathering prefill copies, behind each layer's router, those alone. Its
/// copies are operations of the compute stream.
///
/// Ordering: a device's copy stream fills the slots (one layer each) of its two group buffers; before a layer's experts the
/// compute stream waits for its slot ("group is loaded"), and the next copy into the slot waits for the last use of it
/// ("group buffer is free"). Between groups of different devices the residual moves ("residual arrives").
class Prefill {
 public:
  Prefill(const PackedModel& model, const RunConfiguration& configuration, const std::vector<LayerGroup>& groups,
          std::span<DeviceState> devices);

  /// From now on, experts that are cached on their layer's device are used there. `cached_on` as
  /// choose_cached_experts() gives it; the devices' cache_offsets and stream_offsets say the same.
  void use_cache(const std::vector<int>& cached_on);

  /// A point of an enqueued prompt: behind `done` this share of its layers and tokens is computed.
  struct Mark {
    Device* device = nullptr;
    Event done;
    double share = 0;
  };
  /// Whether prompts that are enqueued from now on get marks, some 16 of each.
  void set_marked(bool marked) { marked_ = marked; }
  const std::vector<Mark>& marks() const { return marks_; }

  /// Enqueues the prefill of the first `tokens` of device 0's `prompt`, whose chunk spans are on every device.
  /// Afterwards the residual of all tokens is on device 0, on whose compute stream everything is ordered.
  void enqueue(std::int64_t tokens, const PickHooks& hooks);
  /// The same by picked experts; at most a chunk of tokens.
  void enqueue_picked(std::int64_t tokens, const PickHooks& hooks);

  /// Bytes of attention weights that one prompt copies to the devices, on any path.
  std::size_t attention_bytes() const { return attention_.bytes(); }
  /// Bytes that one prompt copies to the devices, but by picked experts.
  std::size_t copied_bytes() const;

 private:
  /// Neighbouring experts of a layer.
  struct Run {
    std::int64_t first = 0, count = 0;
  };
  /// How a layer with experts is prefilled.
  struct ExpertLayer {
    std::int64_t index = -1;    ///< among the layers with experts; -1 = the layer has none
    int slot = 0;               ///< of its group's buffer
    std::vector<Run> streamed;  ///< what is copied
    bool cached = false;        ///< some of its experts are in its device's cache
    Event loaded;
  };

  /// Enqueues the copies into slot `slot` of `group`, if it has such a slot.
  void load(std::size_t group, int slot);
  void enqueue_layers(std::int64_t tokens, const PickHooks& hooks);
  void compute(std::size_t group, std::int64_t tokens, const PickHooks& hooks);
  /// `count` tokens more are behind the group's layers.
  void mark(const LayerGroup& group, std::int64_t count, std::int64_t tokens);
  void gather(DeviceState& state, const LayerGroup& group, std::int64_t layer, std::size_t tokens);
  void compute_experts(DeviceState& state, const LayerGroup& group, const ExpertLayer& layer, std::size_t tokens,
                       View<float> residual);
  /// The next group after `group` that the same device loads into the same buffer; groups_.size() = none.
  std::size_t next_of_buffer(std::size_t group) const;
  Event& last_use(const LayerGroup& group, int slot) {
    return last_use_[(static_cast<std::size_t>(group.owner) * 2 + static_cast<std::size_t>(group.buffer)) * slots_ +
                     static_cast<std::size_t>(slot)];
  }

  const PackedModel& model_;
  const RunConfiguration& configuration_;
  const std::vector<LayerGroup>& groups_;
  std::span<DeviceState> devices_;
  StreamedAttention attention_;
  std::vector<ExpertLayer> layers_;  ///< [layers]
  std::size_t slots_ = 1;            ///< of a buffer: layers with experts in the largest group
  std::size_t slot_bytes_ = 0;
  std::vector<Event> last_use_;      ///< [devices, 2, slots]
  int owner_ = 0;                    ///< whose residual is behind the groups that are enqueued
  std::vector<Event> computed_;      ///< [chunks] by it
  bool marked_ = false;
  std::vector<Mark> marks_;
  std::int64_t marked_work_ = 0;     ///< layers times tokens that are enqueued
  bool picked_ = false;              ///< the prompt's experts are gathered, not loaded
};

/// The first `elements` of the residual, from one device to another, ordered behind the first one's compute stream.
void move_residual(DeviceState& from, DeviceState& to, std::size_t elements);
/// Elements [first, first + elements), ordered behind `computed` alone: the first device goes on meanwhile.
void move_residual(DeviceState& from, DeviceState& to, std::size_t first, std::size_t elements, Event computed);

}  // namespace krasis
