#include "engine/text/bpe.h"

#include <queue>

#include "engine/text/utf8.h"

namespace krasis::text {

namespace {

// Symbols of a word as a linked list, so that a merge costs the same anywhere in the word.
struct Symbol {
  std::int32_t id;
  std::int32_t previous;
  std::int32_t next;
  bool gone;
};

struct Candidate {
  std::int32_t rank;
  std::int32_t position;
  std::int32_t id;
  bool operator<(const Candidate& other) const {  // std::priority_queue gives the largest first
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

constexpr std::size_t kLongestCachedWord = 64;
constexpr std::size_t kCachedWords = 1 << 16;

}  // namespace

Expected<void> Bpe::encode_word(std::string_view word, std::vector<std::int32_t>& out) const {
  if (ignore_merges) {
    if (const auto whole = ids.find(word); whole != ids.end()) {
      out.push_back(whole->second);
      return {};
    }
  }
  const auto count = static_cast<std::int32_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  for (std::int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    if (byte_ids[byte] < 0)
      return fail(ErrorCode::Corrupt, "The tokenizer has no token for the byte " + std::to_string(int{byte}) + ".",
                  "Download tokenizer.json again; a byte-level vocabulary holds all 256 bytes.");
    symbols[static_cast<std::size_t>(i)] = {byte_ids[byte], i - 1, i + 1 < count ? i + 1 : -1, false};
  }
  const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };

  std::vector<Candidate> buffer;
  buffer.reserve(word.size());
  std::priority_queue<Candidate> queue({}, std::move(buffer));
  const auto consider = [&](std::int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    if (const auto merge = merges.find(pair_key(at(left).id, at(at(left).next).id)); merge != merges.end())
      queue.push({merge->second.rank, left, merge->second.id});
  };
  for (std::int32_t i = 0; i + 1 < count; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.position);
    if (left.gone || left.next < 0) continue;
    Symbol& right = at(left.next);
    // The pair may have changed since it was queued.
    const auto merge = merges.find(pair_key(left.id, right.id));
    if (merge == merges.end() || merge->second.id != best.id) continue;
    left.id = best.id;
    right.gone = true;
    left.next = right.next;
    if (right.next >= 0) at(right.next).previous = best.position;
    consider(left.previous);
    consider(best.position);
  }
  for (std::int32_t i = count > 0 ? 0 : -1; i >= 0; i = at(i).next) out.push_back(at(i).id);
  return {};
}

Expected<void> WordCache::encode_word(std::string_view word, std::vector<std::int32_t>& out) {
  if (word.size() > kLongestCachedWord) return bpe_.encode_word(word, out);
  const auto known = ranges_.find(word);
  if (known != ranges_.end()) {
    const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(known->second.begin);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(known->second.count));
    return {};
  }
  const std::size_t before = out.size();
  KRASIS_CHECK(bpe_.encode_word(word, out));
  if (ranges_.size() < kCachedWords) {
    ranges_.emplace(word, Range{ids_.size(), out.size() - before});
    ids_.insert(ids_.end(), out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  }
  return {};
}

std::optional<std::string> bytes_of_byte_level(std::string_view token) {
  // Printable Latin-1 bytes stand for themselves; the others, in order, for U+0100 and following.
  static const std::array<int, 0x144> byte_of = [] {
    std::array<int, 0x144> table{};
    table.fill(-1);
    std::size_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      table[printable ? static_cast<std::size_t>(b) : next++] = b;
    }
    return table;
  }();
  std::string bytes;
  bytes.reserve(token.size());
  while (!token.empty()) {
    const Utf8Step step = next_utf8(token);
    if (step.kind != Utf8Step::Kind::Character || step.code_point >= byte_of.size() || byte_of[step.code_point] < 0)
      return std::nullopt;
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(byte_of[step.code_point])));
    token.remove_prefix(step.bytes);
  }
  return bytes;
}

}  // namespace krasis::text
