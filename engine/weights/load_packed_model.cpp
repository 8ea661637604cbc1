#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/system/memory.h"
#include "engine/weights/checkpoint_source.h"
#include "engine/weights/fingerprint.h"
#include "engine/weights/host_pages.h"
#include "engine/weights/load_monitor.h"
#include "engine/weights/pack_parts.h"
#include "engine/weights/packed_cache.h"
#include "engine/weights/packed_layout.h"
#include "engine/weights/synthetic_source.h"

namespace krasis {
namespace {

Expected<void> check_precision(const Precision& precision) {
  const int group_size = precision.group_size;
  if (group_size >= 2 && group_size <= 4096 && (group_size & (group_size - 1)) == 0) return {};
  return fail(ErrorCode::InvalidArgument, "The group size " + std::to_string(group_size) + " is not possible.",
              "Choose a power of two from 2 to 4096, e.g. 128.");
}

/// MXFP4's blocks do not shrink to what a matrix has.
Expected<void> check_groups(const ModelSpec& spec, const std::vector<PackedPart>& parts) {
  for (const PackedPart& part : parts) {
    for (int t = 0; t < part.target_count; ++t) {
      const WeightFormat& format = part.targets[static_cast<std::size_t>(t)].layout.format;
      if (format.group_size == 0 || part.slot.columns % format.group_size == 0) continue;
      return fail(ErrorCode::InvalidArgument,
                  spec.architecture->hub(spec, part.name()).tensor + " has " + std::to_string(part.slot.columns) +
                      " columns, which " + std::string(name_of(format.element)) + " cannot hold in groups of " +
                      std::to_string(format.group_size) + ".",
                  "Choose another precision.");
    }
  }
  return {};
}

std::string gib(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / static_cast<double>(1 << 30));
  return text;
}

/// Asked before anything that grows with the model, so that a config.json with absurd numbers ends here.
Expected<void> check_memory(const ModelSpec& spec, const Precision& precision, const LoadOptions& options) {
  const PackedBytes bytes = packed_bytes(spec, precision);
  std::size_t regions[] = {bytes.dense, bytes.gpu_experts, bytes.cpu_experts};
  const std::size_t all = bytes.dense + bytes.gpu_experts + bytes.cpu_experts;
  const std::size_t small_pages =
      options.numa_shards.size() > 1 ? std::exchange(regions[bytes.cpu_experts > 0 ? 2 : 1], 0) : 0;
  const HostMemory memory = host_memory();
  const std::size_t beside = bytes_beside_pool(regions, memory.pool_bytes) + small_pages;
  const std::size_t available = memory.available_bytes;
  if (beside <= available) return {};
  return fail(ErrorCode::OutOfMemory,
              "The packed weights of " + spec.name + " need " + gib(all) + " of host memory, but only " +
                  gib(available + all - beside) + " are available.",
              "Choose fewer bits, the same bits for GPU and CPU, or a smaller model.");
}

Expected<void> reserve_regions(PackedModel& model) {
  const PackedBytes bytes = packed_bytes(model.spec, model.precision);
  const Precision& p = model.precision;
  // What devices alone read is interleaved: the dense weights, and the GPU's experts where the CPU has its own.
  Shards gpu, cpu;
  (bytes.cpu_experts > 0 ? cpu : gpu) =
      expert_shards(expert_layout(model.spec, p.cpu_experts, p.group_size), model.numa_shards);
  KRASIS_TRY(model.dense, HostRegion::reserve("dense weights", bytes.dense));
  KRASIS_TRY(model.gpu_experts, HostRegion::reserve("experts (GPU)", bytes.gpu_experts, std::move(gpu)));
  KRASIS_TRY(model.cpu_experts, HostRegion::reserve("experts (CPU)", bytes.cpu_experts, std::move(cpu)));
  return {};
}

Expected<void> touch_regions(const PackedModel& model) {
  for (const HostRegion* region : {&model.dense, &model.gpu_experts, &model.cpu_experts}) {
    KRASIS_CHECK(region->touch(0, region->bytes()));
    region->collect();
  }
  return {};
}

void free_regions(PackedModel& model) {
  for (HostRegion* region : {&model.dense, &model.gpu_experts, &model.cpu_experts})
    HostRegion freed(std::move(*region));
}

void add_pages_note(PackedModel& model) {
  const HostRegion* const regions[] = {&model.dense, &model.gpu_experts, &model.cpu_experts};
  if (std::string note = pages_note(regions); !note.empty()) model.notes.push_back(std::move(note));
  const HostRegion& experts = model.cpu_experts.bytes() > 0 ? model.cpu_experts : model.gpu_experts;
  if (model.numa_shards.size() == 1) {
    model.notes.push_back("There is one NUMA node to compute on, so numa = shards changes nothing.");
  } else if (model.numa_shards.size() > 1 && experts.bytes() >= kHugePage && !experts.divided()) {
    model.notes.push_back(
        "The system does not let pages be put on a chosen NUMA node, so the experts' rows are not divided. A container "
        "needs the capability SYS_NICE, and Linux must be 5.14 or later.");
  }
}

void add_note(PackedModel& model, const std::string& what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  constexpr std::size_t kShown = 8;
  std::string text = what;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) text += (i > 0 ? ", " : " ") + names[i];
  model.notes.push_back(text + (names.size() > kShown ? ", ... (" + std::to_string(names.size()) + " in all)." : "."));
}

Expected<std::string> config_text(const std::filesystem::path& path) {
  std::error_code error;
  const bool is_folder = std::filesystem::is_directory(path, error);
  KRASIS_TRY(const MappedFile file, MappedFile::open(is_folder ? path / "config.json" : path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

Expected<std::string> find_fingerprint(const Checkpoint& checkpoint, const std::filesystem::path& directory,
                                       const std::filesystem::path& cache_directory, LoadMonitor& monitor,
                                       std::vector<std::string>& notes) {
  std::optional<FingerprintMemory> memory;
  if (!cache_directory.empty()) {
    memory.emplace(cache_directory, directory, checkpoint);
    if (auto known = memory->recall(); !known.empty()) return known;
  }
  KRASIS_TRY(const std::string text, config_text(directory));
  KRASIS_TRY(std::string fingerprint, weights_fingerprint(checkpoint, text, monitor));
  if (memory) {
    if (const auto kept = memory->remember(fingerprint); !kept) notes.push_back(kept.error().message());
  }
  return fingerprint;
}

/// Fills the regions from the packed copy on disk: true, or false when they are still (or again) empty.
Expected<bool> try_cache(PackedModel& model, const std::filesystem::path& cache_directory, LoadMonitor& monitor) {
  if (cache_directory.empty()) return false;
  const auto read = read_packed_cache(cache_directory, model, monitor);
  if (read) {
    model.cache_reading = *read;
    char speed[64];
    std::snprintf(speed, sizeof speed, " in %.1f s (%.1f GB/s).", read->wall_s,
                  static_cast<double>(read->bytes) / std::max(read->wall_s, 1e-9) * 1e-9);
    model.notes.push_back("The weights were read from the packed copy " +
                          packed_cache_path(cache_directory, model.fingerprint, model.precision).string() + ": " +
                          gib(read->bytes) + speed);
    return true;
  }
  if (read.error().code == ErrorCode::NotFound) return false;
  if (read.error().code != ErrorCode::Corrupt) return tl::unexpected(read.error());
  model.notes.push_back(read.error().cause + " It is made again from the checkpoint.");
  free_regions(model);  // they hold part of the damaged copy
  KRASIS_CHECK(reserve_regions(model));
  return false;
}

/// Packs the checkpoint into the regions and, while it does, into a packed copy on disk.
Expected<void> pack_and_keep(const std::vector<PackedPart>& parts, const WeightSource& source, PackedModel& model,
                             const std::filesystem::path& cache_directory, LoadMonitor& monitor) {
  const auto not_kept = [&model](const Error& error) {
    model.notes.push_back("The packed copy was not kept: " + error.cause +
                          " The next start will quantize the checkpoint again.");
  };
  std::unique_ptr<PackedCacheWriter> cache;
  if (!cache_directory.empty()) {
    auto opened = PackedCacheWriter::open(cache_directory, model, monitor);
    if (opened) {
      cache = std::move(*opened);
    } else if (opened.error().code == ErrorCode::Cancelled) {
      return tl::unexpected(opened.error());
    } else if (opened.error().code != ErrorCode::Conflict) {  // Conflict: another process keeps it
      not_kept(opened.error());
    }
  }
  if (cache && cache->taken_over() > 0) {
    model.notes.push_back("An interrupted start was continued: " + std::to_string(cache->taken_over()) + " of " +
                          std::to_string(cache->piece_count()) + " pieces of the packed copy were there already.");
  }
  KRASIS_CHECK(pack_parts(parts, source, model, monitor, cache.get()));
  if (!cache) return {};
  if (const auto kept = cache->finish(); !kept) not_kept(kept.error());
  return {};
}

/// Gives the model its weights, from the packed copy if there is one.
Expected<void> fill_regions(const std::vector<PackedPart>& parts, const WeightSource& source, PackedModel& model,
                            const std::filesystem::path& cache_directory, LoadMonitor& monitor) {
  KRASIS_CHECK(reserve_regions(model));
  KRASIS_TRY(const bool cached, try_cache(model, cache_directory, monitor));
  if (!cached) {
    KRASIS_CHECK(touch_regions(model));
    KRASIS_CHECK(pack_and_keep(parts, source, model, cache_directory, monitor));
  }
  bind_packed_model(model);
  add_pages_note(model);
  return {};
}

Expected<PackedModel> load_checkpoint(const std::filesystem::path& directory, const Precision& precision,
                                      const LoadOptions& options) {
  LoadMonitor monitor(options.progress, options.stop);
  PackedModel model;
  model.precision = precision;
  model.numa_shards = options.numa_shards;
  KRASIS_TRY(model.spec, load_model_spec(directory, options.architectures));
  KRASIS_CHECK(check_memory(model.spec, precision, options));
  add_note(model, "Keys of config.json that nothing here reads:", model.spec.unknown_keys);
  KRASIS_TRY(const Checkpoint checkpoint, Checkpoint::open(directory));
  const auto parts = packed_parts(model.spec, precision);
  KRASIS_CHECK(check_groups(model.spec, parts));
  KRASIS_TRY(const CheckpointSource source, CheckpointSource::open(checkpoint, model.spec, parts));
  add_note(model, "Tensors of the checkpoint that this model does not use:", source.extra_tensors());
  KRASIS_CHECK(monitor.outcome());
  KRASIS_TRY(model.fingerprint, find_fingerprint(checkpoint, directory, options.cache_directory, monitor, model.notes));
  KRASIS_CHECK(fill_regions(parts, source, model, options.cache_directory, monitor));
  return model;
}

Expected<PackedModel> load_synthetic(const std::string& name, const Precision& precision, const LoadOptions& options) {
  LoadMonitor monitor(options.progress, options.stop);
  PackedModel model;
  model.precision = precision;
  model.numa_shards = options.numa_shards;
  KRASIS_TRY(model.spec, model_spec_of(name, options.architectures));
  KRASIS_CHECK(check_memory(model.spec, precision, options));
  add_note(model, "Keys of config.json that nothing here reads:", model.spec.unknown_keys);
  model.notes.push_back("The weights are synthetic: speeds and bytes are real, texts mean nothing.");
  const auto parts = packed_parts(model.spec, precision);
  KRASIS_CHECK(check_groups(model.spec, parts));
  KRASIS_TRY(const SyntheticSource source,
             SyntheticSource::create(model.spec, parts, options.synthetic_seed, options.synthetic_skew));
  KRASIS_TRY(const std::string text, config_text(name.substr(kSyntheticPrefix.size())));
  model.fingerprint = source.fingerprint(text);
  KRASIS_CHECK(monitor.outcome());
  const auto cache_directory = options.cache_synthetic ? options.cache_directory : std::filesystem::path();
  KRASIS_CHECK(fill_regions(parts, source, model, cache_directory, monitor));
  return model;
}

}  // namespace

Expected<PackedModel> load_packed_model(const std::string& model, const Precision& precision,
                                        const LoadOptions& options) {
  KRASIS_CHECK(check_precision(precision));
  try {
    return model.starts_with(kSyntheticPrefix) ? load_synthetic(model, precision, options)
                                               : load_checkpoint(model, precision, options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::OutOfMemory, "There is not enough host memory to load " + model + ".",
                "Free memory or choose a smaller model.");
  }
}

}  // namespace krasis
