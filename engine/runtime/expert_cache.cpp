#include "engine/runtime/expert_cache.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace krasis {
namespace {

/// Experts that fill a free group buffer for each expert that is exchanged: the buffers are of use soon, and the copies
/// still keep behind the steps.
constexpr std::size_t kFillsOfASwap = 4;

}  // namespace

std::vector<int> choose_cached_experts(const ModelSpec& spec, const RunConfiguration& configuration,
                                       const std::vector<std::int64_t>& heatmap) {
  const auto experts = static_cast<std::size_t>(spec.experts());
  std::vector<int> cached_on(static_cast<std::size_t>(spec.expert_layers()) * experts, -1);
  if (configuration.hcs == HotCache::Off) return cached_on;
  for (int device = 0; device < configuration.device_count; ++device) {
    std::vector<std::size_t> candidates;
    std::size_t first = 0;
    for (std::int64_t layer = 0; layer < spec.layer_count(); ++layer) {
      if (!spec.has_experts(layer)) continue;
      const bool here = configuration.hcs == HotCache::On ? device == 0 : owner_of_layer(layer, configuration) == device;
      for (std::size_t e = 0; here && e < experts; ++e) candidates.push_back(first + e);
      first += experts;
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [&](std::size_t a, std::size_t b) { return heatmap[a] > heatmap[b]; });
    candidates.resize(static_cast<std::size_t>(hot_experts(spec, configuration, device)));
    for (const std::size_t index : candidates) cached_on[index] = device;
  }
  return cached_on;
}

View<const std::byte> experts_of_layer(const PackedModel& model, std::size_t expert_layer) {
  for (const PackedLayer& layer : model.layers) {
    if (layer.gpu_experts.empty()) continue;
    if (expert_layer-- == 0) return layer.gpu_experts;
  }
  return {};
}

ExpertCache::ExpertCache(const PackedModel& model, const RunConfiguration& configuration, std::span<DeviceState> devices,
                         const std::vector<int>& first, const std::vector<std::int64_t>& heatmap, View<std::int64_t> tables)
    : model_(model),
      adaptive_(configuration.hcs != HotCache::Off && configuration.hcs_policy == "adaptive"),
      experts_(static_cast<std::size_t>(model.spec.experts())),
      block_(model.gpu_expert_layout.bytes()),
      first_(first),
      heatmap_(heatmap),
      home_(devices.front().device) {
  const auto layers = static_cast<std::size_t>(model.spec.expert_layers());
  device_of_.assign(layers, -1);
  needs_cpu_.assign(layers, false);
  hits_.assign(layers, 0);
  misses_.assign(layers, 0);
  by_misses_.assign(static_cast<std::size_t>(model.spec.top_k()) + 1, 0);
  picks_.assign(entries(), 0);
  for (std::size_t i = 0; i < entries(); ++i) {
    cpu_offsets_.push_back(cpu_offset(i));
    if (first_[i] < 0) needs_cpu_[i / experts_] = true;
    if (first_[i] >= 0) device_of_[i / experts_] = first_[i];
  }
  if (tables.empty()) return;
  for (std::size_t layer = 0, index = 0; adaptive_ && layer < model.layers.size(); ++layer) {
    if (model.layers[layer].gpu_experts.empty()) continue;
    device_of_[index++] = configuration.hcs == HotCache::On ? 0 : owner_of_layer(static_cast<std::int64_t>(layer), configuration);
  }
  for (DeviceState& state : devices) {
    OnDevice d{.state = &state, .table = tables.sub(static_cast<std::size_t>(state.index) * entries(), entries())};
    const auto add_slots = [&](View<std::byte> buffer) {
      for (std::size_t at = 0; at + block_ <= buffer.size; at += block_) d.slots.push_back({.data = buffer.data + at});
    };
    add_slots(state.cache_pool);
    d.own = d.slots.size();
    d.spare = static_cast<std::size_t>(cache_size(model.spec, configuration, state.index).spare);
    const bool lent = adaptive_ && d.own > 0;
    for (const View<std::byte>& buffer : state.group_buffers) {
      if (lent) add_slots(buffer);
    }
    if (!d.slots.empty()) {
      const auto [low, high] = std::minmax_element(d.slots.begin(), d.slots.end(), [](const Slot& a, const Slot& b) { return a.data < b.data; });
      state.cache_memory = {low->data, static_cast<std::size_t>(high->data - low->data) + block_};
    }
    d.held_in.assign(entries(), -1);
    restore_first(d);
    devices_.push_back(std::move(d));
  }
}

View<const std::int64_t> ExpertCache::cpu_offsets(std::int64_t expert_layer) const {
  return {cpu_offsets_.data() + static_cast<std::size_t>(expert_layer) * experts_, experts_};
}

View<const std::int32_t> ExpertCache::counted(std::int64_t expert_layer) const {
  return {picks_.data() + static_cast<std::size_t>(expert_layer) * experts_, experts_};
}

void ExpertCache::count(std::int64_t expert_layer, View<const std::int32_t> ids) {
  const auto layer = static_cast<std::size_t>(expert_layer);
  const std::int64_t before = misses_[layer];
  for (std::size_t j = 0; j < ids.size; ++j) {
    const std::int32_t id = ids.data[j];
    if (id < 0 || id >= static_cast<std::int32_t>(experts_)) continue;
    const std::size_t i = layer * experts_ + static_cast<std::size_t>(id);
    ++picks_[i];
    ++(cpu_offsets_[i] < 0 ? hits_ : misses_)[layer];
  }
  ++by_misses_[static_cast<std::size_t>(misses_[layer] - before)];
}

CacheUse ExpertCache::use() const {
  CacheUse use{hits_, misses_, by_misses_, admitted_, admitted_bytes_};
  for (std::size_t layer = 0; layer < hits_.size(); ++layer) {
    if (needs_cpu_[layer]) continue;
    use.hits[layer] = std::int64_t{step_} * model_.spec.top_k();
    use.layers_by_misses.front() += step_;
  }
  return use;
}

// Moving experts ------------------------------------------------------------------------------------------------------

void ExpertCache::load(OnDevice& d, std::int64_t expert, std::size_t index) {
  const auto i = static_cast<std::size_t>(expert);
  Slot& slot = d.slots[index];
  if (slot.holds >= 0) d.held_in[static_cast<std::size_t>(slot.holds)] = -1;
  if (d.held_in[i] >= 0) d.slots[static_cast<std::size_t>(d.held_in[i])].holds = -1;
  slot.holds = expert;
  slot.taken = true;
  d.held_in[i] = static_cast<std::int64_t>(index);
  d.state->device->copy(d.state->loader, {slot.data, block_}, experts_of_layer(model_, i / experts_).sub(i % experts_ * block_, block_),
                        "cache expert");
  admitted_bytes_ += block_;
}

void ExpertCache::load_into_free(OnDevice& d, const std::vector<std::int64_t>& experts) {
  std::size_t slot = 0;
  for (const std::int64_t expert : experts) {
    while (d.slots[slot].taken) ++slot;
    load(d, expert, slot);
  }
}

void ExpertCache::send_for(OnDevice& d) {
  std::vector<std::int64_t> absent;
  for (const Admission& admission : d.coming) {
    const std::int64_t slot = d.held_in[static_cast<std::size_t>(admission.expert)];
    if (slot >= 0) d.slots[static_cast<std::size_t>(slot)].taken = true;  // it has not been overwritten since it was last cached
    if (slot < 0) absent.push_back(admission.expert);
  }
  load_into_free(d, absent);
  if (!d.coming.empty()) d.as_begun = false;
}

void ExpertCache::enter(OnDevice& d, std::int64_t expert) {
  const auto i = static_cast<std::size_t>(expert);
  d.table.data[i] = d.slots[static_cast<std::size_t>(d.held_in[i])].data - d.state->cache_memory.data;
  cpu_offsets_[i] = -1;
}

void ExpertCache::leave(OnDevice& d, std::int64_t expert) {
  const auto i = static_cast<std::size_t>(expert);
  d.table.data[i] = -1;
  d.slots[static_cast<std::size_t>(d.held_in[i])].taken = false;
  cpu_offsets_[i] = cpu_offset(i);
}

void ExpertCache::publish(OnDevice& d) {
  DeviceState& s = *d.state;
  for (auto& blocks : s.cached_blocks) blocks.clear();
  for (std::size_t i = 0; i < entries(); ++i) {
    if (d.table.data[i] < 0) continue;
    s.cached_blocks[i / experts_].push_back(s.cache_memory.sub(static_cast<std::size_t>(d.table.data[i]), block_));
  }
  s.device->wait(s.compute, s.device->record(s.loader), "experts are in the cache");
  copy(*s.device, s.compute, s.cache_offsets, d.table, "cache table");
}

void ExpertCache::restore_first(OnDevice& d) {
  if (d.as_begun) return;
  d.as_begun = true;
  const std::array writes{Access::of(d.table), Access::of(View{cpu_offsets_.data(), entries()})};
  d.state->device->host_access("cache table", {}, writes);
  d.coming.clear();
  for (Slot& slot : d.slots) slot.taken = false;
  std::vector<std::int64_t> absent;  // from the cache's own slots
  for (std::size_t i = 0; i < entries(); ++i) {
    d.table.data[i] = -1;
    if (device_of_[i / experts_] == d.state->index) cpu_offsets_[i] = cpu_offset(i);
    if (first_[i] != d.state->index) continue;
    const std::int64_t slot = d.held_in[i];
    const bool there = slot >= 0 && slot < static_cast<std::int64_t>(d.own);
    if (there) d.slots[static_cast<std::size_t>(slot)].taken = true;
    if (!there) absent.push_back(static_cast<std::int64_t>(i));
  }
  load_into_free(d, absent);
  for (std::size_t i = 0; i < entries(); ++i) {
    if (first_[i] == d.state->index) enter(d, static_cast<std::int64_t>(i));
  }
  publish(d);
}

// The steps of a text -------------------------------------------------------------------------------------------------

void ExpertCache::begin(bool streamed) {
  for (OnDevice& d : devices_) {
    restore_first(d);
    for (std::size_t slot = d.own; streamed && slot < d.slots.size(); ++slot) {
      if (d.slots[slot].holds >= 0) d.held_in[static_cast<std::size_t>(d.slots[slot].holds)] = -1;
      d.slots[slot].holds = -1;
    }
  }
  std::fill(hits_.begin(), hits_.end(), 0);
  std::fill(misses_.begin(), misses_.end(), 0);
  std::fill(by_misses_.begin(), by_misses_.end(), 0);
  std::fill(picks_.begin(), picks_.end(), 0);
  changes_.clear();
  step_ = 0;
  admitted_ = 0;
  admitted_bytes_ = 0;
  if (!adaptive_) return;
  const double picks_of_a_token = static_cast<double>(model_.spec.expert_layers() * model_.spec.top_k());
  scores_.begin(heatmap_, static_cast<double>(std::accumulate(heatmap_.begin(), heatmap_.end(), std::int64_t{0})) / picks_of_a_token);
}

void ExpertCache::before_step() {
  const bool decides = decides_now();
  const int step = step_++;
  if (!decides) return;
  const std::array writes{Access::of(View{picks_.data(), entries()}), Access::of(View{cpu_offsets_.data(), entries()})};
  home_->host_access("expert picks", {}, writes);
  if (step > 0) scores_.add(picks_, kTokensPerAdmission);
  std::fill(picks_.begin(), picks_.end(), 0);
  for (OnDevice& d : devices_) {
    admit_coming(d, step);
    d.coming = choose(d);
    send_for(d);
  }
}

void ExpertCache::end() {
  for (OnDevice& d : devices_) restore_first(d);
}

void ExpertCache::pretend(bool cached) {
  const std::array writes{Access::of(View{cpu_offsets_.data(), entries()})};
  home_->host_access("CPU's experts", {}, writes);
  std::fill(cpu_offsets_.begin(), cpu_offsets_.end(), -1);
  for (OnDevice& d : devices_) {
    std::vector<std::int64_t> blocks;  // of the first set, as the table counts
    for (std::size_t i = 0; i < entries(); ++i) {
      if (first_[i] != d.state->index || d.held_in[i] < 0) continue;
      blocks.push_back(d.slots[static_cast<std::size_t>(d.held_in[i])].data - d.state->cache_memory.data);
    }
    if (blocks.empty()) continue;
    const std::array table{Access::of(d.table)};
    home_->host_access("cache table", {}, table);
    for (std::size_t i = 0; i < entries(); ++i) {
      d.table.data[i] = cached && device_of_[i / experts_] == d.state->index ? blocks[i % blocks.size()] : -1;
    }
    d.as_begun = false;
    publish(d);
  }
}

void ExpertCache::restore() {
  const std::array writes{Access::of(View{cpu_offsets_.data(), entries()})};
  home_->host_access("CPU's experts", {}, writes);
  for (std::size_t i = 0; i < entries(); ++i) cpu_offsets_[i] = first_[i] < 0 ? cpu_offset(i) : -1;
  end();
}

void ExpertCache::admit_coming(OnDevice& d, int step) {
  if (d.coming.empty()) return;
  const std::array writes{Access::of(d.table)};
  d.state->device->host_access("cache table", {}, writes);
  for (const auto& [expert, victim] : d.coming) {
    if (victim >= 0) {
      leave(d, victim);
      changes_.push_back({step, victim, false});
    }
    enter(d, expert);
    changes_.push_back({step, expert, true});
  }
  admitted_ += static_cast<std::int64_t>(d.coming.size());
  publish(d);
}

std::vector<Admission> ExpertCache::choose(const OnDevice& d) const {
  std::vector<std::int64_t> outside, inside;
  for (std::size_t i = 0; i < entries(); ++i) {
    const std::size_t layer = i / experts_;
    if (device_of_[layer] != d.state->index || !needs_cpu_[layer]) continue;  // without the CPU nobody counts its picks
    (d.table.data[i] < 0 ? outside : inside).push_back(static_cast<std::int64_t>(i));
  }
  const auto free = static_cast<std::size_t>(std::count_if(d.slots.begin(), d.slots.end(), [](const Slot& slot) { return !slot.taken; }));
  const std::size_t room = std::min(free - std::min(free, d.spare), kFillsOfASwap * d.spare);
  return choose_admissions(scores_.all(), outside, inside, room, std::min(free - room, d.spare));
}

}  // namespace krasis
