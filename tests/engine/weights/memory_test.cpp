// What loading takes beside the weights: resident memory and the system's file cache.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "engine/system/resident_memory.h"
#include "engine/weights/host_pages.h"
#include "tests/engine/weights/cache_fixture.h"

namespace krasis {
namespace {

using testing::Contains;
using testing::HasSubstr;

/// 250 MiB in BF16, 111 MiB as INT4 and INT8.
constexpr const char* kConfig = R"({"model_type": "qwen3_moe", "num_hidden_layers": 6, "hidden_size": 1024,
 "vocab_size": 20000, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128, "num_experts": 16,
 "num_experts_per_tok": 4, "moe_intermediate_size": 256, "intermediate_size": 1024, "norm_topk_prob": true,
 "tie_word_embeddings": false})";

/// The issue's bound, and what a process of any model takes: code, threads' stacks and scratch.
constexpr double kShare = 1.05;
constexpr std::size_t kConstant = std::size_t{32} << 20;

struct Peak {
  std::size_t packed_bytes = 0, peak_bytes = 0;
  std::string from;
  std::size_t bound() const { return static_cast<std::size_t>(kShare * static_cast<double>(packed_bytes)) + kConstant; }
};

class LoadMemory : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer's own memory is larger than what is measured";
#endif
    std::filesystem::create_directories(folder());
    test::write_file(folder() / "config.json", kConfig);
  }
  std::filesystem::path folder() const {
    return directory_.path() / "model";
  }
  std::filesystem::path cache() const {
    return directory_.path() / "cache";
  }
  std::string synthetic() const {
    return "synthetic:" + folder().string();
  }
  Expected<PackedModel> load(LoadOptions options = {}) const {
    options.cache_directory = cache();
    options.cache_synthetic = true;
    return load_packed_model(synthetic(), Precision{}, options);
  }
  Peak load_in_process(const std::string& model) const {
    const auto output =
        test::Process("exec " + std::string(KRASIS_MEMORY_PROCESS) + " " + model + " " + cache().string()).finish();
    Peak peak;
    char from[16] = "";
    EXPECT_EQ(output.status, 0);
    EXPECT_EQ(output.lines.size(), 1u);
    if (output.lines.empty() ||
        std::sscanf(output.lines[0].c_str(), "%zu %zu %15s", &peak.packed_bytes, &peak.peak_bytes, from) != 3) {
      ADD_FAILURE() << (output.lines.empty() ? "no output" : output.lines[0]);
    }
    peak.from = from;
    std::printf("%s: %.1f MiB of packed weights, peak %.1f MiB\n", from,
                static_cast<double>(peak.packed_bytes) / (1 << 20), static_cast<double>(peak.peak_bytes) / (1 << 20));
    return peak;
  }
  /// The same weights as a file: of each tensor some random numbers, again and again.
  std::size_t write_checkpoint() const {
    const auto config = parse_model_spec(kConfig);
    std::mt19937 random(std::random_device{}());
    std::normal_distribution<float> normal(0.0f, 0.1f);
    test::TensorMap tensors;
    std::size_t bytes = 0;
    for (const PackedPart& part : packed_parts(config.value(), Precision{})) {
      std::vector<float> values(static_cast<std::size_t>(part.slot.rows * part.slot.columns));
      std::generate_n(values.begin(), std::min<std::size_t>(values.size(), 1000), [&] { return normal(random); });
      for (std::size_t i = 1000; i < values.size(); ++i) values[i] = values[i - 1000];
      std::vector<std::int64_t> shape{part.slot.rows, part.slot.columns};
      if (part.slot.vector) shape.erase(shape.begin());
      tensors[config->architecture->hub(*config, part.name()).tensor] = test::bf16_tensor(std::move(shape), values);
      bytes += values.size() * 2;
    }
    test::write_safetensors(folder() / "model.safetensors", tensors);
    return bytes;
  }
  test::TemporaryDirectory directory_;
};

TEST_F(LoadMemory, PackingAndReadingTakeLittleMoreThanTheWeights) {
  const Peak packed = load_in_process(synthetic());
  EXPECT_EQ(packed.from, "packed");
  EXPECT_LE(packed.peak_bytes, packed.bound());
  EXPECT_GE(packed.peak_bytes, packed.packed_bytes) << "what is measured is not the weights";
  const Peak read = load_in_process(synthetic());
  EXPECT_EQ(read.from, "cache");
  EXPECT_LE(read.peak_bytes, read.bound());
  EXPECT_GE(read.peak_bytes, read.packed_bytes);
}

TEST_F(LoadMemory, ACheckpointsPagesDoNotStayResident) {
  const std::size_t checkpoint_bytes = write_checkpoint();
  const Peak packed = load_in_process(folder().string());
  EXPECT_EQ(packed.from, "packed");
  ASSERT_GT(checkpoint_bytes, kConstant * 4) << "too small to be told from the constant";
  EXPECT_LE(packed.peak_bytes, packed.bound());
  const Peak read = load_in_process(folder().string());
  EXPECT_EQ(read.from, "cache");
  EXPECT_LE(read.peak_bytes, read.bound());
}

/// The share of a file that lies in the system's file cache.
double cached_share(int file, std::size_t bytes) {
  void* map = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
  if (map == MAP_FAILED) return -1;
  std::vector<unsigned char> resident((bytes + kSmallPage - 1) / kSmallPage);
  const int done = mincore(map, bytes, resident.data());
  munmap(map, bytes);
  const auto count = std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return (r & 1) != 0; });
  return done == 0 ? static_cast<double>(count) / static_cast<double>(resident.size()) : -1;
}

TEST_F(LoadMemory, ThePackedCopyLeavesTheFileCache) {
  const auto made = load();
  ASSERT_TRUE(made) << made.error().message();
  const auto path = packed_cache_path(cache(), made->fingerprint, made->precision);
  const Descriptor file(open(path.c_str(), O_RDONLY));
  struct statfs system {};
  ASSERT_EQ(fstatfs(file.get(), &system), 0);
  if (system.f_type == TMPFS_MAGIC) GTEST_SKIP() << path << " lies in memory: there is no file cache beside it";
  ASSERT_EQ(fsync(file.get()), 0);
  const std::string whole = test::read_file(path);
  ASSERT_GT(cached_share(file.get(), whole.size()), 0.9);
  const auto read = load();
  ASSERT_TRUE(read) << read.error().message();
  ASSERT_TRUE(read->cache_reading);
  EXPECT_LT(cached_share(file.get(), whole.size()), 0.01);
  EXPECT_TRUE(test::same_weights(*made, *read));
}

TEST_F(LoadMemory, ReadingACopyCanBeCancelledAndBegunAgain) {
  const auto made = load();
  ASSERT_TRUE(made) << made.error().message();
  for (const double when : {0.0, 0.3, 0.9}) {
    std::stop_source stop;
    LoadOptions options;
    options.stop = stop.get_token();
    double last = 0;
    options.progress = [&](const LoadProgress& progress) {
      EXPECT_EQ(progress.stage, "read cache");
      last = progress.done;
      if (progress.done >= when) stop.request_stop();
    };
    const auto cancelled = load(options);
    ASSERT_FALSE(cancelled) << when;
    EXPECT_EQ(cancelled.error().code, ErrorCode::Cancelled);
    EXPECT_LT(last, 1.0) << "it went on to the end";
  }
  const auto read = load();
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_TRUE(read->cache_reading);
  EXPECT_TRUE(test::same_weights(*made, *read));
}

TEST_F(LoadMemory, ACopyThatIsCutShortOrChangedIsMadeAgain) {
  const auto made = load();
  ASSERT_TRUE(made) << made.error().message();
  const auto path = packed_cache_path(cache(), made->fingerprint, made->precision);
  const auto bytes = std::filesystem::file_size(path);
  std::mt19937_64 random(std::random_device{}());
  const auto change_a_byte = [&] {
    const Descriptor file(open(path.c_str(), O_RDWR));
    const std::size_t at = bytes - made->gpu_experts.bytes() + random() % made->gpu_experts.bytes();
    std::byte byte{};
    ASSERT_TRUE(read_exactly(file.get(), {&byte, 1}, at));
    byte ^= std::byte{1};
    ASSERT_TRUE(write_exactly(file.get(), {&byte, 1}, at));
  };
  for (const bool cut : {false, true}) {
    if (cut) {
      std::filesystem::resize_file(path, bytes - 1 - random() % made->gpu_experts.bytes());
    } else {
      change_a_byte();
    }
    const auto again = load();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_FALSE(again->cache_reading);
    EXPECT_THAT(again->notes, Contains(HasSubstr(cut ? "it is truncated" : "the checksum of its piece")));
    EXPECT_TRUE(test::same_weights(*made, *again));
    EXPECT_EQ(std::filesystem::file_size(path), bytes);
  }
}

TEST(PeakResident, FollowsWhatIsTouchedAndCanBeginAnew) {
  const std::size_t bytes = std::size_t{64} << 20;
  const auto before = peak_resident_bytes();
  ASSERT_TRUE(before);
  {
    const auto region = HostRegion::allocate("weights", bytes);
    ASSERT_TRUE(region);
    EXPECT_GE(*peak_resident_bytes() + (std::size_t{1} << 20), bytes);
  }
  const auto peak = peak_resident_bytes();
  if (!reset_peak_resident()) GTEST_SKIP() << "the system does not let the peak begin anew";
  EXPECT_LT(*peak_resident_bytes() + bytes / 2, *peak);
}

}  // namespace
}  // namespace krasis
