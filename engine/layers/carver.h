#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace krasis {

/// Hands out memory of named places. What asks for it runs twice with the same arguments: the plan measures, the engine
/// allocates, so the two cannot differ.
class Carver {
 public:
  virtual ~Carver() = default;

  /// `count` values of T, 64-byte aligned, of undefined contents; null pointers where nothing is allocated.
  template <class T>
  void operator()(std::string_view place, View<T>& view, std::int64_t count) {
    const auto size = static_cast<std::size_t>(count);
    view = {reinterpret_cast<T*>(take(place, size * sizeof(T))), size};
  }
  /// Parts, each called with a Carver, that never need their memory at the same time: all lie in one piece as large as
  /// the largest. They may ask for `place` alone.
  template <class... Parts>
  void in_turn(std::string_view place, const Parts&... parts);

 protected:
  /// Null for 0 bytes.
  virtual std::byte* take(std::string_view place, std::size_t bytes) = 0;
};

/// Adds up what is asked for, each piece rounded up to 64 bytes as allocators count it, and hands out nothing.
class MeasuringCarver final : public Carver {
 public:
  struct Place {
    std::string name;
    std::size_t bytes = 0;
  };
  /// In the order of their first piece; without empty ones.
  const std::vector<Place>& places() const { return places_; }
  /// Of one place, or of all.
  std::size_t bytes(std::string_view place) const {
    const auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.name == place; });
    return found == places_.end() ? 0 : found->bytes;
  }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Place& place : places_) sum += place.bytes;
    return sum;
  }

 private:
  std::byte* take(std::string_view place, std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.name == place; });
    if (found == places_.end()) found = places_.insert(found, {std::string(place), 0});
    found->bytes += round_up(bytes, 64);
    return nullptr;
  }

  std::vector<Place> places_;
};

/// Hands out one piece of memory from its beginning.
class PieceCarver final : public Carver {
 public:
  explicit PieceCarver(View<std::byte> piece) : rest_(piece) {}

 private:
  std::byte* take(std::string_view, std::size_t bytes) override {
    std::byte* const data = rest_.data;
    const std::size_t used = std::min(round_up(bytes, 64), rest_.size);
    if (data != nullptr) rest_ = rest_.sub(used, rest_.size - used);
    return bytes == 0 ? nullptr : data;
  }

  View<std::byte> rest_;
};

template <class... Parts>
void Carver::in_turn(std::string_view place, const Parts&... parts) {
  std::size_t largest = 0;
  const auto measure = [&](const auto& part) {
    MeasuringCarver carver;
    part(carver);
    largest = std::max(largest, carver.bytes());
  };
  (measure(parts), ...);
  View<std::byte> piece;
  (*this)(place, piece, static_cast<std::int64_t>(largest));
  const auto carve = [&](const auto& part) {
    PieceCarver carver(piece);
    part(carver);
  };
  (carve(parts), ...);
}

}  // namespace krasis
