#include "engine/text/detokenizer.h"

#include <algorithm>

#include "engine/text/utf8.h"

namespace krasis {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

Expected<std::string> Detokenizer::append(std::int32_t id) {
  KRASIS_TRY(const std::string_view bytes, tokenizer_->token_bytes(id));
  if (skip_special_ && tokenizer_->is_special(id)) return std::string();
  pending_ += bytes;
  std::string complete;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = next_utf8(rest);
    if (step.kind == Utf8Step::Kind::Incomplete) break;
    append_utf8(complete, step.code_point);
    rest.remove_prefix(step.bytes);
  }
  pending_ = std::string(rest);
  return complete;
}

std::string Detokenizer::flush() {
  std::string tail = replace_invalid_utf8(pending_);
  pending_.clear();
  return tail;
}

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
  std::sort(stops_.begin(), stops_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string StopMatcher::append(std::string_view text) {
  if (stopped_) return {};
  for (const char c : text) {
    held_.push_back(c);
    for (const std::string& stop : stops_) {
      if (!held_.ends_with(stop)) continue;
      held_.resize(held_.size() - stop.size());
      stopped_ = true;
      matched_ = stop;
      return std::exchange(held_, {});
    }
  }
  // The longest end of the text that begins a stop string stays.
  std::size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) keep = length;
    }
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::flush() {
  return std::exchange(held_, {});
}

}  // namespace krasis
