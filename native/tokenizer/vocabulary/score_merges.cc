#include "tokenizer/vocabulary/score_merges.h"

#include <algorithm>

#include "core/error.h"

namespace heddle {
namespace {

constexpr uint64_t max_piece_units = 512;      // UTF-16 units of one piece
constexpr uint64_t max_split_units = 1 << 25;  // sum over pieces of (UTF-16 units)^2

}  // namespace

void sort_by_score(const std::vector<double>& scores, std::vector<uint32_t>& order) {
  std::sort(order.begin(), order.end(),
      [&](uint32_t a, uint32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
}

void check_score_merges(const VocabularyTexts& texts, const std::string& where) {
  const std::string_view tokens = texts.tokens.view();
  size_t at = 0;
  uint64_t splits = 0;
  for (size_t i = 0; i < texts.mergeable.size(); at += texts.token_lengths[i++]) {
    if (texts.mergeable[i] == 0) continue;
    const uint64_t units = utf::utf16_length(tokens.substr(at, texts.token_lengths[i]));
    if (units > max_piece_units) {
      throw invalid_file(where + "[" + std::to_string(i) + "]: expected at most " + std::to_string(max_piece_units) +
                         " characters, got " + std::to_string(units));
    }
    splits += units * units;
  }
  if (splits > max_split_units) {
    throw invalid_file(where + ": expected squared token lengths that add up to at most " +
                       std::to_string(max_split_units) + ", got " + std::to_string(splits));
  }
}

}  // namespace heddle
