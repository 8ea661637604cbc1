#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/weights/load_monitor.h"
#include "engine/weights/packed_file.h"

namespace krasis {

/// Packed models on disk. One file (packed_file.h) holds the three regions of one model in one precision; its name says
/// fingerprint, precision and layout version. Files are never changed once they have their name, so any number of
/// processes may read and write at the same time.
std::filesystem::path packed_cache_path(const std::filesystem::path& directory, const std::string& fingerprint,
                                        const Precision& precision);

/// Fills the regions of `model`, which are reserved or allocated, from the file of `model.fingerprint` and
/// `model.precision`. Every byte is checked against the hashes. The thread that reads a piece also gives it its memory,
/// and takes it out of the file cache afterwards: a copy that fills most of the memory is neither driven out of a warm
/// cache before it is read, nor does it lie there a second time.
/// Errors: NotFound if there is none, and the regions are as before; Corrupt, saying what is wrong, and OutOfMemory, and
/// the regions then hold anything; Cancelled.
Expected<CacheReading> read_packed_cache(const std::filesystem::path& directory, const PackedModel& model,
                                         LoadMonitor& monitor);

/// A packed file in the making, PATH.partial, which is written piece by piece while the weights are packed. It has the
/// final file's layout without the first 56 bytes; each piece is written when all of it is packed, then its hash. A
/// process that is stopped or killed leaves it behind, and the next one takes over the pieces whose bytes have the hash
/// that stands there; all others are packed again. One process at a time has it (flock). Not synced: a power cut may
/// cost pieces, which their hashes tell.
class PackedCacheWriter {
 public:
  /// Begins or goes on; pieces that are taken over are in the regions of `model` afterwards, which are allocated and
  /// zero before. Removes partial files of other models that nobody has touched for a week.
  /// Errors: Conflict while another process makes the same file; Io (a full disk, a folder that cannot be written);
  /// Cancelled. The regions are zero after the first two.
  static Expected<std::unique_ptr<PackedCacheWriter>> open(const std::filesystem::path& directory,
                                                           const PackedModel& model, LoadMonitor& monitor);
  /// Closes the partial file; removes it if it has no piece, or could not be written.
  ~PackedCacheWriter();
  PackedCacheWriter(const PackedCacheWriter&) = delete;
  PackedCacheWriter& operator=(const PackedCacheWriter&) = delete;

  std::size_t piece_count() const { return file_.pieces().size(); }
  std::size_t taken_over() const { return taken_over_; }

  /// Bytes of a region. Before packing, expect() every range that will be packed; after packing one, done() with it.
  struct Range {
    Region region = Region::Dense;
    std::size_t offset = 0;
    std::size_t count = 0;
  };
  /// Whether all of it was taken over.
  bool has(const Range& range) const;
  void expect(const Range& range);
  /// Any thread. Writes the pieces that are complete now. An error is kept for finish().
  void done(const Range& range);
  /// After everything is done: gives the file its name. Errors: Io, also of earlier writes.
  Expected<void> finish();

 private:
  PackedCacheWriter(std::filesystem::path path, int descriptor, const PackedModel& model);
  Expected<void> prepare();
  bool is_of_this_model();
  void take_over(LoadMonitor& monitor);
  void store(std::size_t piece);
  void fail_with(int error);

  enum class State : std::uint8_t { Missing, TakenOver, Stored };

  std::filesystem::path path_, partial_;
  Descriptor descriptor_;
  PackedFile file_;
  std::vector<std::string> hashes_;             ///< [pieces]
  std::vector<State> states_;                   ///< [pieces]; each changed by one thread
  std::vector<std::atomic<std::size_t>> open_;  ///< [pieces] expected ranges that are not done
  std::size_t taken_over_ = 0;
  std::atomic<std::size_t> stored_ = 0;
  std::atomic<bool> failed_ = false;
  bool finished_ = false;
  std::mutex error_mutex_;
  std::optional<Error> error_;
};

}  // namespace krasis
