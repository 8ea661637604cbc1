// Packing that was interrupted goes on at the next start, and trusts nothing that the partial file says without proof.
#include <fcntl.h>
#include <oneapi/tbb/global_control.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <random>
#include <set>

#include "engine/weights/pack_parts.h"
#include "tests/engine/weights/cache_fixture.h"

namespace krasis {
namespace {

using test::kTwoCopies;
using test::same_weights;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Resume : public test::CacheTest {
 protected:
  void SetUp() override {
    CacheTest::SetUp();
    auto model = load(directory_.path() / "reference");
    ASSERT_TRUE(model) << model.error().message();
    reference_.emplace(std::move(*model));
    name_ = packed_cache_path({}, reference_->fingerprint, kTwoCopies).string();
    whole_ = test::read_file(directory_.path() / "reference" / name_);
    const PackedFile file(*reference_);
    ASSERT_GT(file.pieces().size(), 8u);
    ASSERT_EQ(file.file_bytes(), whole_.size());
    std::filesystem::create_directories(cache_path());
  }
  std::filesystem::path final_path() const { return cache_path() / name_; }
  std::filesystem::path partial_path() const { return final_path().string() + ".partial"; }
  std::size_t pieces() const { return PackedFile(*reference_).pieces().size(); }

  /// What a process leaves that dies before it gives the file its name.
  std::string complete_partial() const {
    return std::string(PackedFile::kPrefixBytes, '\0') + whole_.substr(PackedFile::kPrefixBytes);
  }

  /// Loads with the partial file that is there, and checks that the result is as if there were none. Returns how many
  /// pieces the loader says it has taken over.
  std::size_t expect_right_result() {
    const auto model = load(cache_path());
    EXPECT_TRUE(model) << model.error().message();
    if (!model) return 0;
    EXPECT_TRUE(same_weights(*model, *reference_));
    EXPECT_TRUE(test::read_file(final_path()) == whole_) << "the packed copies differ";
    EXPECT_FALSE(std::filesystem::exists(partial_path()));
    std::filesystem::remove(final_path());
    if (model->notes.empty()) return 0;
    EXPECT_EQ(model->notes.size(), 1u);
    std::size_t taken = 0, all = 0;
    EXPECT_EQ(
        std::sscanf(model->notes[0].c_str(), "An interrupted start was continued: %zu of %zu pieces", &taken, &all), 2)
        << model->notes[0];
    EXPECT_EQ(all, pieces());
    return taken;
  }
  std::size_t expect_right_result_with(const std::string& partial) {
    test::write_file(partial_path(), partial);
    return expect_right_result();
  }

  /// With a thread for each of these few blocks, none would wait while another is packed.
  tbb::global_control two_threads_{tbb::global_control::max_allowed_parallelism, 2};
  std::optional<PackedModel> reference_;  ///< loaded without interruption
  std::string name_, whole_;              ///< of its packed copy
};

TEST_F(Resume, AKilledProcessIsContinued) {
  // Precision{} is what the process loads with.
  const auto alone = load(directory_.path() / "alone", Precision{});
  ASSERT_TRUE(alone);
  const auto name = packed_cache_path({}, alone->fingerprint, alone->precision);
  const auto expected = test::read_file(directory_.path() / "alone" / name);
  for (const int percent : {30, 50, 70, 90}) {
    const auto killed = start_process(1, 0, percent).finish();
    ASSERT_TRUE(WIFSIGNALED(killed.status) && WTERMSIG(killed.status) == SIGKILL) << killed.status;
    EXPECT_THAT(killed.lines, IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(cache_path() / name));
    EXPECT_TRUE(std::filesystem::exists((cache_path() / name).string() + ".partial"));
    const auto second = load(cache_path(), Precision{});
    ASSERT_TRUE(second) << second.error().message();
    EXPECT_THAT(stages_, ElementsAre("read partial cache", "quantize"));
    EXPECT_THAT(second->notes, ElementsAre(HasSubstr("An interrupted start was continued: ")));
    std::printf("killed at %d %%: %s\n", percent, second->notes[0].c_str());
    EXPECT_TRUE(same_weights(*second, *alone));
    EXPECT_TRUE(test::read_file(cache_path() / name) == expected);
    EXPECT_FALSE(std::filesystem::exists((cache_path() / name).string() + ".partial"));
    std::filesystem::remove(cache_path() / name);
  }
}

TEST_F(Resume, AProcessThatIsKilledAgainAndAgainGetsThere) {
  const auto alone = load(directory_.path() / "alone", Precision{});
  ASSERT_TRUE(alone);
  const auto name = packed_cache_path({}, alone->fingerprint, alone->precision);
  for (const int percent : {20, 40, 60, 80, 95}) {
    const auto killed = start_process(1, 0, percent).finish();
    ASSERT_TRUE(WIFSIGNALED(killed.status)) << percent;
  }
  const auto last = start_process(1, 0).finish();
  EXPECT_EQ(last.status, 0);
  EXPECT_THAT(last.lines, ElementsAre(HasSubstr("weights "), HasSubstr("An interrupted start was continued: ")));
  EXPECT_TRUE(test::read_file(cache_path() / name) == test::read_file(directory_.path() / "alone" / name));
}

TEST_F(Resume, AStopByTheUserIsContinued) {
  std::stop_source stop;
  LoadOptions options;
  options.cache_directory = cache_path();
  options.stop = stop.get_token();
  options.progress = [&](const LoadProgress& progress) {
    if (progress.stage == "quantize" && progress.done >= 0.5) stop.request_stop();
  };
  const auto stopped = load_packed_model(model_path().string(), kTwoCopies, options);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::Cancelled);
  EXPECT_TRUE(std::filesystem::exists(partial_path()));
  EXPECT_GT(expect_right_result(), 0u);
}

/// Draws each row from its place, and remembers which parts were asked for.
class RememberingSource : public WeightSource {
 public:
  explicit RememberingSource(const std::vector<PackedPart>& parts) : parts_(&parts) {}
  Expected<void> read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count,
                           float* out) const override {
    {
      const std::lock_guard lock(mutex_);
      read_.insert(part);
    }
    const std::int64_t columns = (*parts_)[part].slot.columns;
    for (std::int64_t i = 0; i < row_count * columns; ++i) {
      out[i] = static_cast<float>((static_cast<std::int64_t>(part) * 7 + row_begin * columns + i) % 101 - 50);
    }
    return {};
  }
  const std::set<std::size_t>& read() const { return read_; }

 private:
  const std::vector<PackedPart>* parts_;
  mutable std::mutex mutex_;
  mutable std::set<std::size_t> read_;
};

TEST_F(Resume, WhatWasTakenOverIsNotPackedAgain) {
  const auto parts = packed_parts(reference_->spec, kTwoCopies);
  PackedModel model;
  model.fingerprint = "0123";
  model.precision = kTwoCopies;
  const auto allocate = [&] {
    model.dense = *HostRegion::allocate("dense", reference_->dense.bytes());
    model.gpu_experts = *HostRegion::allocate("gpu", reference_->gpu_experts.bytes());
    model.cpu_experts = *HostRegion::allocate("cpu", reference_->cpu_experts.bytes());
  };
  allocate();
  std::stop_source stop;
  LoadMonitor stopping(
      [&](const LoadProgress& progress) {
        if (progress.done >= 0.5) stop.request_stop();
      },
      stop.get_token());
  const RememberingSource first(parts);
  {
    auto cache = PackedCacheWriter::open(cache_path(), model, stopping);
    ASSERT_TRUE(cache) << cache.error().message();
    EXPECT_EQ((*cache)->taken_over(), 0u);
    EXPECT_EQ(pack_parts(parts, first, model, stopping, cache->get()).error().code, ErrorCode::Cancelled);
  }
  ASSERT_LT(first.read().size(), parts.size());

  allocate();
  LoadMonitor monitor({}, {});
  const RememberingSource second(parts);
  auto cache = PackedCacheWriter::open(cache_path(), model, monitor);
  ASSERT_TRUE(cache) << cache.error().message();
  EXPECT_GT((*cache)->taken_over(), 0u);
  EXPECT_LT((*cache)->taken_over(), (*cache)->piece_count());
  ASSERT_TRUE(pack_parts(parts, second, model, monitor, cache->get()));
  ASSERT_TRUE((*cache)->finish());
  EXPECT_LT(second.read().size(), parts.size());
  std::set<std::size_t> both = first.read();
  both.insert(second.read().begin(), second.read().end());
  EXPECT_EQ(both.size(), parts.size());

  const PackedModel resumed = std::move(model);
  model.fingerprint = resumed.fingerprint;
  model.precision = kTwoCopies;
  allocate();
  const RememberingSource all(parts);
  ASSERT_TRUE(pack_parts(parts, all, model, monitor));
  EXPECT_EQ(all.read().size(), parts.size());
  EXPECT_TRUE(same_weights(model, resumed));
  allocate();
  ASSERT_TRUE(read_packed_cache(cache_path(), model, monitor));
  EXPECT_TRUE(same_weights(model, resumed));
}

TEST_F(Resume, AFinishedFileWithoutItsNameIsTakenOverWhole) {
  EXPECT_EQ(expect_right_result_with(complete_partial()), pieces());
  EXPECT_EQ(expect_right_result_with(whole_), pieces());  // died between the last write and the renaming
}

TEST_F(Resume, DamagedPiecesAreMadeAgain) {
  const PackedFile file(*reference_);
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 40; ++round) {
    std::string partial = complete_partial();
    std::set<std::size_t> damaged;
    for (int n = 0; n < 1 + round % 4; ++n) {
      const std::size_t i = random() % pieces();
      const auto& piece = file.pieces()[i];
      const bool in_hash = random() % 2 == 0;
      const std::size_t at = in_hash ? file.hash_offset(i) + random() % PackedFile::kHashBytes
                                     : piece.offset + random() % piece.bytes.size();
      if (!damaged.insert(i).second) continue;
      partial[at] = static_cast<char>(partial[at] ^ (1 << (random() % 8)));
    }
    EXPECT_EQ(expect_right_result_with(partial), pieces() - damaged.size());
  }
}

TEST_F(Resume, NothingOfADamagedPieceStays) {
  // Not even in the padding between matrices, which packing does not write.
  const PackedFile file(*reference_);
  for (std::size_t i = 0; i < pieces(); ++i) {
    std::string partial = complete_partial();
    std::fill_n(partial.begin() + static_cast<std::ptrdiff_t>(file.pieces()[i].offset), file.pieces()[i].bytes.size(),
                'x');
    EXPECT_EQ(expect_right_result_with(partial), pieces() - 1) << i;
  }
}

TEST_F(Resume, ADamagedHeaderOrAnotherModelsIsNotTrusted) {
  const PackedFile file(*reference_);
  const std::size_t header_end = whole_.find('\0', PackedFile::kPrefixBytes);
  const std::size_t hashes_end = file.hash_offset(pieces() - 1) + PackedFile::kHashBytes;
  for (std::size_t at = PackedFile::kPrefixBytes; at < header_end; at += 7) {
    if (at >= file.hash_offset(0) && at < hashes_end) continue;  // above
    std::string partial = complete_partial();
    partial[at] = static_cast<char>(partial[at] ^ 1);
    EXPECT_EQ(expect_right_result_with(partial), 0u) << at;
  }
  EXPECT_EQ(expect_right_result_with("something else"), 0u);
  EXPECT_EQ(expect_right_result_with(std::string(whole_.size(), '\xff')), 0u);
}

TEST_F(Resume, TruncatedAndTooLongFilesGiveWhatTheyHave) {
  const PackedFile file(*reference_);
  const std::string partial = complete_partial();
  EXPECT_EQ(expect_right_result_with(""), 0u);
  EXPECT_EQ(expect_right_result_with(partial.substr(0, 100)), 0u);
  EXPECT_EQ(expect_right_result_with(partial.substr(0, file.pieces()[3].offset + 1)), 3u);
  EXPECT_EQ(expect_right_result_with(partial + "more"), pieces());
}

TEST_F(Resume, TheSpaceBetweenTheRegionsIsCleaned) {
  const PackedFile file(*reference_);
  ASSERT_FALSE(file.paddings().empty());
  std::string partial = complete_partial();
  for (const auto& [offset, bytes] : file.paddings()) partial[offset + bytes / 2] = 'x';
  partial[file.front_bytes() - 1] = 'x';  // behind the header: no part of any piece, so nobody can tell what it means
  EXPECT_EQ(expect_right_result_with(partial), 0u);
  partial[file.front_bytes() - 1] = '\0';
  EXPECT_EQ(expect_right_result_with(partial), pieces());
}

TEST_F(Resume, AFileThatAnotherProcessMakesIsLeftAlone) {
  const std::string partial = complete_partial();
  test::write_file(partial_path(), partial);
  const Descriptor other(open(partial_path().c_str(), O_RDWR));
  ASSERT_EQ(flock(other.get(), LOCK_EX), 0);
  const auto model = load(cache_path());
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_TRUE(same_weights(*model, *reference_));
  EXPECT_THAT(model->notes, IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(final_path()));
  EXPECT_TRUE(test::read_file(partial_path()) == partial);
}

TEST_F(Resume, ADiskThatFillsUpOnTheWayCostsANoteAndLeavesNothing) {
  // A limit on the size of files stands for the disk.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  LoadOptions options;
  options.cache_directory = cache_path();
  options.progress = [&](const LoadProgress& progress) {
    const rlimit small{whole_.size() / 2, before.rlim_max};
    if (progress.stage == "quantize" && progress.done == 0) setrlimit(RLIMIT_FSIZE, &small);
  };
  const auto model = load_packed_model(model_path().string(), kTwoCopies, options);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_TRUE(same_weights(*model, *reference_));
  EXPECT_THAT(model->notes,
              ElementsAre(testing::AllOf(HasSubstr("The packed copy was not kept: "), HasSubstr("File too large"))));
  EXPECT_FALSE(std::filesystem::exists(final_path()));
  EXPECT_FALSE(std::filesystem::exists(partial_path()));
}

TEST_F(Resume, ForgottenPartialFilesAreRemoved) {
  const auto week_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * 8);
  const auto file = [&](const char* name, bool old) {
    test::write_file(cache_path() / name, "x");
    if (old) std::filesystem::last_write_time(cache_path() / name, week_ago);
    return cache_path() / name;
  };
  const auto forgotten = file("a.packed.partial", true);
  const auto in_use = file("b.packed.partial", true);
  const auto recent = file("c.packed.partial", false);
  const auto finished = file("d.packed", true);
  const Descriptor other(open(in_use.c_str(), O_RDWR));
  ASSERT_EQ(flock(other.get(), LOCK_EX), 0);
  ASSERT_TRUE(load(cache_path()));
  EXPECT_FALSE(std::filesystem::exists(forgotten));
  EXPECT_TRUE(std::filesystem::exists(in_use));
  EXPECT_TRUE(std::filesystem::exists(recent));
  EXPECT_TRUE(std::filesystem::exists(finished));
}

}  // namespace
}  // namespace krasis
