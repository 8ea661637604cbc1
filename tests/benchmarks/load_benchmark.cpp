// krasis_load_benchmark DIRECTORY [MODEL_FOLDER] [DEVICE]
// How fast a packed copy on disk becomes weights that a device can copy from, and how much memory that takes. Makes the
// packed copy of a synthetic model in DIRECTORY (kept there for the next time), in a process of its own; reads it once,
// so that it lies in the file cache; then loads it and registers it with DEVICE ("cuda", which locks its pages, or
// "host", which does nothing). Default model: the shape of Qwen3-30B-A3B, 16.5 GB. Ends with 1 on errors.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "engine/runtime/compute_threads.h"
#include "engine/runtime/platform.h"
#include "engine/system/resident_memory.h"
#include "engine/weights/packed_cache.h"

namespace krasis {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
double gb(std::size_t bytes) {
  return static_cast<double>(bytes) * 1e-9;
}

Expected<PackedModel> load(const std::string& model, const std::filesystem::path& directory) {
  LoadOptions options;
  options.cache_directory = directory;
  options.cache_synthetic = true;
  return load_packed_model(model, Precision{}, options);
}

/// Makes the packed copy, unless it is there, and says how long that took. In a process of its own: that one's memory
/// shall not count.
int make(const std::string& model, const std::filesystem::path& directory) {
  const auto begin = Clock::now();
  const auto made = load(model, directory);
  if (!made) {
    fmt::print("{}\n", made.error().message());
    return 1;
  }
  if (made->cache_reading) return 0;
  for (const std::string& note : made->notes) fmt::print("  {}\n", note);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const std::size_t bytes = made->dense.bytes() + made->gpu_experts.bytes() + made->cpu_experts.bytes();
  fmt::print("make    {:6.2f} s  {:6.2f} GB/s of packed weights, peak {:.3f} of them\n", seconds_since(begin),
             gb(bytes) / seconds_since(begin), gb(static_cast<std::size_t>(usage.ru_maxrss) << 10) / gb(bytes));
  return 0;
}

/// Bytes of the file that lie in the system's file cache.
std::size_t cached_bytes(int file, std::size_t size) {
  void* map = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (map == MAP_FAILED) return 0;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((size + page - 1) / page);
  mincore(map, size, resident.data());
  munmap(map, size);
  return page * static_cast<std::size_t>(
                    std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return (r & 1) != 0; }));
}

/// Reads the file into the file cache.
void warm(const std::filesystem::path& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  fsync(file.get());  // else what is not on the disk yet could not be dropped
  const std::size_t size = std::filesystem::file_size(path), piece = std::size_t{8} << 20;
  const auto begin = Clock::now();
  tbb::parallel_for(std::size_t{0}, (size + piece - 1) / piece, [&](std::size_t i) {
    std::vector<std::byte> bytes(std::min(piece, size - i * piece));
    read_exactly(file.get(), bytes, i * piece);
  });
  fmt::print("warm    {:6.2f} s  {:6.2f} GB/s from the disk or the file cache; {:.2f} of {:.2f} GB are cached now\n",
             seconds_since(begin), gb(size) / seconds_since(begin), gb(cached_bytes(file.get(), size)), gb(size));
}

/// A thread's share of the reading.
void print_part(const char* name, std::size_t bytes, double thread_seconds) {
  fmt::print("  {:<6}{:6.2f} s  {:6.2f} GB/s per thread\n", name, thread_seconds, gb(bytes) / thread_seconds);
}

Expected<void> measure(const std::string& name, const std::filesystem::path& directory, const std::string& device) {
  RunConfiguration configuration;
  configuration.device = device;
  const HostCompute cpu{&simd_operations(), make_thread_team(0)};
  KRASIS_TRY(const auto platform, Platform::open(configuration, {}, cpu));
  const std::size_t before = peak_resident_bytes().value_or(0);
  const auto begin = Clock::now();
  KRASIS_TRY(const PackedModel model, load(name, directory));
  const double load_s = seconds_since(begin);
  if (!model.cache_reading) return fail(ErrorCode::Io, "The packed copy was not read: " + model.notes.back());
  const CacheReading& reading = *model.cache_reading;
  const auto lock_begin = Clock::now();
  std::vector<std::byte*> registered;
  Device& first = *platform->devices().front();
  for (const HostRegion* region : {&model.dense, &model.gpu_experts, &model.cpu_experts}) {
    if (region->bytes() == 0) continue;
    KRASIS_CHECK(first.register_host(region->name(), region->data(), region->bytes()));
    registered.push_back(region->data());
  }
  const double lock_s = seconds_since(lock_begin);
  const double all_s = seconds_since(begin);

  fmt::print("read    {:6.2f} s  {:6.2f} GB/s with {} threads; in all threads:\n", reading.wall_s,
             gb(reading.bytes) / reading.wall_s,
             tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism));
  print_part("pages", reading.bytes, reading.touch_s);
  print_part("copy", reading.bytes, reading.read_s);
  print_part("verify", reading.bytes, reading.verify_s);
  print_part("drop", reading.bytes, reading.drop_s);
  fmt::print("lock    {:6.2f} s  {:6.2f} GB/s ({})\n", lock_s, gb(reading.bytes) / lock_s, device);
  fmt::print("load    {:6.2f} s  {:6.2f} GB/s in all, of which {:.2f} s before and after reading\n", all_s,
             gb(reading.bytes) / all_s, load_s - reading.wall_s);
  const std::size_t peak = peak_resident_bytes().value_or(0);
  fmt::print("memory  peak {:.3f} GB = {:.4f} of the packed weights ({:.3f} GB); {:.3f} GB before loading\n", gb(peak),
             gb(peak) / gb(reading.bytes), gb(reading.bytes), gb(before));
  const auto path = packed_cache_path(directory, model.fingerprint, model.precision);
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  fmt::print("        {:.3f} GB of the packed copy are left in the file cache\n",
             gb(cached_bytes(file.get(), std::filesystem::file_size(path))));
  for (const std::string& note : model.notes) fmt::print("  {}\n", note);
  for (std::byte* data : registered) first.unregister_host(data);
  return {};
}

int run(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    fmt::print("krasis_load_benchmark DIRECTORY [MODEL_FOLDER] [DEVICE]\n");
    return 2;
  }
  const std::filesystem::path directory = argv[1];
  const std::string model =
      std::string(kSyntheticPrefix) + (argc > 2 ? argv[2] : KRASIS_SHAPES "/qwen3-30b-a3b") + "/config.json";
  const std::string device = argc > 3 ? argv[3] : "host";
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const int code = make(model, directory);
    std::fflush(stdout);
    _exit(code);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".packed") warm(entry.path());
  }
  reset_peak_resident();
  if (const auto measured = measure(model, directory, device); !measured) {
    fmt::print("{}\n", measured.error().message());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace krasis

int main(int argc, char** argv) {
  return krasis::run(argc, argv);
}
