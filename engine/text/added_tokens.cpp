#include "engine/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "engine/text/utf8.h"

namespace krasis::text {

namespace {

char32_t last_code_point(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0u) == 0x80u) --begin;
  return next_utf8(text.substr(begin)).code_point;
}

bool is_word(char32_t c) {  // \w of Unicode TR18
  if (c == 0x200c || c == 0x200d) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool is_space(char32_t c) {  // White_Space
  if ((c >= 9 && c <= 13) || c == 0x85) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token, std::string_view content) {
  std::size_t node = 0;
  for (const char c : content) {
    const auto [next, created] = nodes_[node].next.try_emplace(static_cast<unsigned char>(c), nodes_.size());
    node = next->second;
    if (created) nodes_.emplace_back();
  }
  if (nodes_[node].token >= 0) return;  // the first of two with the same content counts
  nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::int32_t AddedTokenMatcher::longest_at(std::string_view text, std::size_t& length) const {
  std::int32_t found = -1;
  std::size_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto next = nodes_[node].next.find(static_cast<unsigned char>(text[i]));
    if (next == nodes_[node].next.end()) break;
    node = next->second;
    if (nodes_[node].token >= 0) {
      found = nodes_[node].token;
      length = i + 1;
    }
  }
  return found;
}

std::vector<AddedTokenPiece> AddedTokenMatcher::split(std::string_view text, bool allow_special) const {
  std::vector<AddedTokenPiece> pieces;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0;
    const std::int32_t index = longest_at(text.substr(at), length);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    std::size_t begin = at;
    std::size_t end = at + length;
    at = end;  // what is refused below is not searched again, as in the original
    if (token.special && !allow_special) continue;
    if (token.single_word) {
      const bool word_before = begin > 0 && is_word(last_code_point(text.substr(0, begin)));
      const bool word_behind = end < text.size() && is_word(next_utf8(text.substr(end)).code_point);
      if (word_before || word_behind) continue;
    }
    if (token.lstrip) {
      while (begin > done && is_space(last_code_point(text.substr(0, begin)))) {
        --begin;
        while (begin > done && (static_cast<unsigned char>(text[begin]) & 0xc0u) == 0x80u) --begin;
      }
    }
    begin = std::max(begin, done);
    if (token.rstrip) {
      while (end < text.size()) {
        const Utf8Step step = next_utf8(text.substr(end));
        if (!is_space(step.code_point)) break;
        end += step.bytes;
      }
    }
    if (begin > done) pieces.push_back({-1, text.substr(done, begin - done)});
    pieces.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
    at = std::max(at, end);
  }
  if (done < text.size()) pieces.push_back({-1, text.substr(done)});
  return pieces;
}

}  // namespace krasis::text
