#include "kernels/host/host_platform.h"

#include <algorithm>
#include <limits>

#include "kernels/host/host_device.h"
#include "kernels/host/host_platform_impl.h"

namespace krasis {

// The public class ---------------------------------------------------------------------------------------------------

HostPlatform::HostPlatform(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HostPlatform::~HostPlatform() = default;

Expected<std::unique_ptr<HostPlatform>> HostPlatform::create(const HostPlatformOptions& options,
                                                             const HostOperations& operations) {
  if (options.devices < 1) {
    return fail(ErrorCode::InvalidArgument,
                "A host platform with " + std::to_string(options.devices) + " devices cannot be.",
                "Ask for at least one device.");
  }
  const std::size_t budgets = options.budgets.size();
  if (budgets > 1 && budgets != static_cast<std::size_t>(options.devices)) {
    return fail(
        ErrorCode::InvalidArgument,
        std::to_string(budgets) + " memory budgets were given for " + std::to_string(options.devices) + " devices.",
        "Give one budget for each device, or a single one for all.");
  }
  return std::unique_ptr<HostPlatform>(new HostPlatform(std::make_unique<Impl>(options, operations)));
}

int HostPlatform::device_count() const {
  return static_cast<int>(impl_->devices().size());
}
Device& HostPlatform::device(int index) {
  return *impl_->devices()[static_cast<std::size_t>(index)];
}
std::vector<Violation> HostPlatform::violations() const {
  return impl_->violations();
}
void HostPlatform::clear_violations() {
  impl_->clear_violations();
}
std::vector<TraceEntry> HostPlatform::trace() const {
  return impl_->trace();
}
void HostPlatform::set_tracing(bool tracing) {
  impl_->set_tracing(tracing);
}
PlatformActivity HostPlatform::activity() const {
  return impl_->activity();
}
Expected<void> HostPlatform::write_chrome_trace(const std::filesystem::path& path) const {
  return krasis::write_chrome_trace(impl_->trace(), path);
}
void HostPlatform::drop_waits(std::string why) {
  impl_->drop_waits(std::move(why));
}
void HostPlatform::keep_all_waits() {
  impl_->keep_all_waits();
}
std::vector<std::string> HostPlatform::wait_reasons() const {
  return impl_->wait_reasons();
}

// Memory -------------------------------------------------------------------------------------------------------------

HostPlatform::Impl::Impl(const HostPlatformOptions& options, const HostOperations& operations)
    : options_(options), operations_(operations) {
  if (options_.check_order) checker_ = std::make_unique<OrderChecker>();
  executor_ = options_.schedule == Schedule::Seeded ? make_seeded_executor(options_.seed, options_.trace, options_.team)
              : options_.schedule == Schedule::Immediate ? make_immediate_executor(options_.team)
                                                         : make_thread_executor(options_.trace, options_.team);
  const auto& budgets = options_.budgets;
  for (int index = 0; index < options_.devices; ++index) {
    const std::size_t budget = budgets.empty()       ? std::numeric_limits<std::size_t>::max()
                               : budgets.size() == 1 ? budgets.front()
                                                     : budgets[static_cast<std::size_t>(index)];
    memories_.push_back(std::make_unique<HostMemory>(budget, options_.poison, options_.spread));
    devices_.push_back(std::make_unique<HostDevice>(*this, index, budget));
  }
}

HostPlatform::Impl::~Impl() {
  executor_.reset();
}  // stops the threads before anything they use goes

Expected<std::byte*> HostPlatform::Impl::allocate(int device, std::string_view place, std::size_t bytes,
                                                  MemorySpace space) {
  const std::lock_guard lock(mutex_);
  KRASIS_TRY(std::byte* const data, memories_[static_cast<std::size_t>(device)]->allocate(place, bytes, space));
  if (checker_ && data) {
    checker_->add_memory({std::string(place), device, space == MemorySpace::Device, data, bytes});
  }
  return data;
}

void HostPlatform::Impl::release(int device, std::byte* data) {
  const std::lock_guard lock(mutex_);
  const bool unused = !checker_ || checker_->remove_memory(data);
  memories_[static_cast<std::size_t>(device)]->release(data, !unused);
}

std::vector<PlaceUsage> HostPlatform::Impl::memory_usage(int device) const {
  const std::lock_guard lock(mutex_);
  return memories_[static_cast<std::size_t>(device)]->usage();
}

Expected<void> HostPlatform::Impl::register_host(int device, std::string_view place, std::byte* data,
                                                 std::size_t bytes) {
  if (bytes == 0) return {};
  const std::lock_guard lock(mutex_);
  const auto above = registrations_.upper_bound(data);
  if (above != registrations_.begin()) {
    auto& [start, known] = *std::prev(above);
    if (start == data && known.bytes == bytes) {  // several devices copy from the same weights
      ++known.count;
      return {};
    }
    if (start + known.bytes > data) {
      return fail(ErrorCode::InvalidArgument,
                  "Host memory for '" + std::string(place) + "' overlaps memory that is registered already.",
                  "Register each range once, as a whole.");
    }
  }
  if (above != registrations_.end() && data + bytes > above->first) {
    return fail(ErrorCode::InvalidArgument,
                "Host memory for '" + std::string(place) + "' overlaps memory that is registered already.",
                "Register each range once, as a whole.");
  }
  registrations_[data] = {bytes, 1};
  if (checker_) checker_->add_memory({std::string(place), device, false, data, bytes});
  return {};
}

void HostPlatform::Impl::unregister_host(std::byte* data) {
  const std::lock_guard lock(mutex_);
  const auto found = registrations_.find(data);
  if (found == registrations_.end() || --found->second.count > 0) return;
  registrations_.erase(found);
  if (checker_) checker_->remove_memory(data);
}

// Checks and faults --------------------------------------------------------------------------------------------------

std::vector<Violation> HostPlatform::Impl::violations() const {
  const std::lock_guard lock(mutex_);
  return checker_ ? checker_->violations() : std::vector<Violation>{};
}

void HostPlatform::Impl::clear_violations() {
  const std::lock_guard lock(mutex_);
  if (checker_) checker_->clear_violations();
}

void HostPlatform::Impl::drop_waits(std::string why) {
  const std::lock_guard lock(mutex_);
  dropped_.insert(std::move(why));
}

void HostPlatform::Impl::keep_all_waits() {
  const std::lock_guard lock(mutex_);
  dropped_.clear();
}

std::vector<std::string> HostPlatform::Impl::wait_reasons() const {
  const std::lock_guard lock(mutex_);
  return {wait_reasons_.begin(), wait_reasons_.end()};
}

}  // namespace krasis
