#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/layers/model_weights.h"
#include "engine/layers/precision.h"
#include "engine/model/architecture.h"
#include "engine/weights/shards.h"
#include "kernels/tensor.h"

namespace krasis {

/// Bytes of a region by the pages that they lie in.
struct HostPages {
  std::size_t explicit_huge = 0;     ///< 2 MiB, of the pool that the administrator keeps (vm.nr_hugepages)
  std::size_t transparent_huge = 0;  ///< 2 MiB, as the kernel found them
  std::size_t small = 0;
};

struct PageSystem;

/// One anonymous, 2 MiB-aligned piece of host memory, zeroed. Its pages are explicit huge ones where the pool has
/// enough for the whole region, else transparent ones, else small; with several NUMA nodes they are interleaved over
/// these. Regions smaller than a huge page are of small pages. A region whose rows are divided among NUMA nodes is of
/// small pages, too, each on the node that it belongs to: a huge page is as large as a matrix of an expert.
class HostRegion {
 public:
  HostRegion() = default;
  /// With all pages, touched by all cores (Linux 5.14 and later), so that using them never fails: reserve(), touch() of
  /// everything, collect(). Fails with OutOfMemory.
  static Expected<HostRegion> allocate(std::string name, std::size_t bytes);
  /// The same with other system calls (host_pages.h).
  static Expected<HostRegion> allocate(std::string name, std::size_t bytes, const PageSystem& system);
  /// Address space alone (explicit huge pages are taken at once), for a loader that gives back what it has read from
  /// while it fills the region. Fails with OutOfMemory. `system` must outlive the calls of touch() and collect().
  /// With `shards` of several nodes the region is divided, unless it is smaller than a huge page or the system does not
  /// let pages be put on a chosen node (divided() says).
  static Expected<HostRegion> reserve(std::string name, std::size_t bytes, Shards shards = {});
  static Expected<HostRegion> reserve(std::string name, std::size_t bytes, const PageSystem& system,
                                      Shards shards = {});
  /// Gives [offset, offset + count) its pages, so that using them does not fail. Any thread. Fails with OutOfMemory.
  Expected<void> touch(std::size_t offset, std::size_t count) const;
  /// When everything is touched: makes huge pages of small ones where the system could not give huge ones at once.
  void collect() const;
  HostRegion(HostRegion&&) noexcept;
  HostRegion& operator=(HostRegion&&) noexcept;
  ~HostRegion();
  const std::string& name() const { return name_; }
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// What it has now; in sum `bytes` rounded up to pages. Reads /proc/self/smaps, which takes milliseconds.
  HostPages pages() const;
  /// Nodes that it is interleaved over or divided among; 1: there is only one; 0: the system refused.
  int numa_nodes() const { return numa_nodes_; }
  bool divided() const { return static_cast<bool>(shards_); }

 private:
  std::string name_;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::byte* mapping_ = nullptr;  ///< with a page that nothing may use on either side, unless explicit
  std::size_t mapped_bytes_ = 0;
  bool explicit_ = false;
  int numa_nodes_ = 1;
  Shards shards_;
  const PageSystem* system_ = nullptr;
};

/// Where the weights of one layer lie inside the regions of a PackedModel.
struct PackedLayer : LayerWeights {
  using LayerWeights::LayerWeights;
  View<const std::byte> gpu_experts;  ///< [experts] blocks of gpu_expert_layout, contiguous; empty in a dense layer
  View<const std::byte> cpu_experts;  ///< the same memory as gpu_experts when both have one precision
};

/// How the packed copy on disk was read. Times of the parts are sums over the threads.
struct CacheReading {
  std::size_t bytes = 0;
  double wall_s = 0;
  double touch_s = 0;   ///< memory gets its pages
  double read_s = 0;    ///< from the file
  double verify_s = 0;  ///< checksums
  double drop_s = 0;    ///< out of the file cache
};

/// All weights of a model in host memory, quantized and packed: one copy, two of the experts only when the GPU's and the
/// CPU's precision differ. Immutable after loading.
struct PackedModel {
  ModelSpec spec;
  Precision precision;
  std::vector<int> numa_shards;  ///< nodes among which the rows of the CPU's experts were to be divided (LoadOptions)
  std::string fingerprint;  ///< of the source weights' content, hexadecimal
  ExpertLayout gpu_expert_layout, cpu_expert_layout;
  HeadWeights head;
  std::vector<PackedLayer> layers;

  HostRegion dense;        ///< "dense weights": everything but the experts
  HostRegion gpu_experts;  ///< "experts (GPU)"
  HostRegion cpu_experts;  ///< "experts (CPU)"; no bytes when the precisions are equal
  std::optional<CacheReading> cache_reading;  ///< if they come from the packed copy
  std::vector<std::string> notes;  ///< what the loader wants the user to know (e.g. unknown keys, cache used)

  std::size_t bytes() const { return dense.bytes() + gpu_experts.bytes() + cpu_experts.bytes(); }
};

struct LoadProgress {
  std::string stage;  ///< "hash", "quantize", "read cache", ...
  double done = 0;    ///< 0..1
};

struct LoadOptions {
  std::filesystem::path cache_directory;  ///< of packed copies and fingerprints; empty = none; made if absent
  std::int64_t synthetic_seed = 1;
  bool cache_synthetic = false;  ///< keep a packed copy of synthetic weights, too: to measure how it is loaded
  double synthetic_skew = 0.0;  ///< Zipf exponent of the experts' use, 0 (uniform) to 4; see synthetic_source.h
  /// NUMA nodes, as the system numbers them, among which the rows of the experts that the CPU computes with are divided
  /// (shards.h). None: pages are interleaved. One alone, or a system that does not let them be chosen, costs a note.
  std::vector<int> numa_shards;
  std::span<const Architecture* const> architectures = krasis::architectures();  ///< that a model may be of
  std::function<void(const LoadProgress&)> progress;  ///< called on the loader's threads, one at a time
  std::stop_token stop;
};

/// `model` is a folder in Hugging Face layout or "synthetic:PATH/config.json" (or its folder; never on disk, weights
/// seeded, drawn on the fly). Every BF16/F16/F32 tensor is checked for shape and for NaN. Runs on all cores and takes,
/// beside the regions, only some MiB (a checkpoint's pages are the system's file cache). A packed copy on disk that is
/// damaged, or cannot be written, costs a note and time. The copy is written while the weights are packed, so that the
/// next load goes on where one was stopped or killed.
/// Errors name file and tensor: those of load_model_spec and Checkpoint::open; NotFound, InvalidShape, Unsupported for
/// tensors; Corrupt for NaN; OutOfMemory; InvalidArgument for the skew, the group size or groups that do not divide the
/// columns of a matrix; Cancelled.
Expected<PackedModel> load_packed_model(const std::string& model, const Precision& precision, const LoadOptions& options);

}  // namespace krasis
