#pragma once

#include <cstddef>
#include <functional>
#include <map>

namespace krasis::cuda {

/// Hands out parts of a few large pieces of memory ("chunks"), because cudaMalloc and cudaFree are slow and wait for
/// the GPU. Only addresses are touched, never the memory. Not thread-safe.
///
/// A request takes the smallest hole that it fits into, else a new chunk of its own size or of `chunk_bytes`, whichever
/// is larger. Chunks that became empty are kept for later requests; they go back when a new chunk is refused.
class Arena {
 public:
  static constexpr std::size_t kAlignment = 256;           ///< of every address
  static constexpr std::size_t kGranularity = 2ull << 20;  ///< of chunks

  /// Gets a chunk, aligned to kAlignment; null = refused.
  using Obtain = std::function<std::byte*(std::size_t bytes)>;
  using GiveBack = std::function<void(std::byte* chunk, std::size_t bytes)>;
  Arena(std::size_t chunk_bytes, Obtain obtain, GiveBack give_back)
      : chunk_bytes_(chunk_bytes), obtain_(std::move(obtain)), give_back_(std::move(give_back)) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  /// Null if no chunk can be had (or `bytes` is 0).
  std::byte* allocate(std::size_t bytes);
  /// `data` comes from allocate().
  void release(std::byte* data);
  /// Gives back chunks of which nothing is in use.
  void trim();
  std::size_t chunk_total_bytes() const;

 private:
  struct Part {
    std::size_t bytes = 0;
    std::byte* chunk = nullptr;
  };
  using Parts = std::map<std::byte*, Part>;
  std::byte* take(Parts::iterator hole, std::size_t bytes);
  bool grow(std::size_t bytes);

  std::size_t chunk_bytes_ = 0;
  Obtain obtain_;
  GiveBack give_back_;
  std::map<std::byte*, std::size_t> chunks_;
  Parts holes_, blocks_;  ///< together they cover all chunks; neighbouring holes of a chunk are one
};

}  // namespace krasis::cuda
