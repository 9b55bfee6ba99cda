#include "tokenizer/split/splitter.h"

#include <string>

#include "core/error.h"
#include "tokenizer/split/split_bloom.h"
#include "tokenizer/split/split_deepseek.h"
#include "tokenizer/split/split_patterns.h"

namespace heddle {

NextPiece next_piece_function(SplitKind kind) {
  switch (kind) {
    case SplitKind::gpt2: return split::Gpt2::next;
    case SplitKind::cl100k: return split::Cl100k::next;
    case SplitKind::o200k: return split::O200k::next;
    case SplitKind::digits: return split::Digits::next;
    case SplitKind::space_runs: return split::SpaceRuns::next;
    case SplitKind::each_space: return split::EachSpace::next;
    case SplitKind::cjk_runs: return split::CjkRuns::next;
    case SplitKind::deepseek: return split::DeepSeek::next;
    case SplitKind::bloom: return split::Bloom::next;
  }
  throw invalid_argument("split: expected a kind from 0 to 8, got " + std::to_string(static_cast<int>(kind)));
}

Splitter::Splitter(std::vector<SplitStage> stages) {
  constexpr size_t most = 8;
  if (stages.size() > most) {
    throw invalid_file("pre_tokenizer: expected at most 8 split stages, got " + std::to_string(stages.size()));
  }
  for (const SplitStage& stage : stages) stages_.push_back({stage, next_piece_function(stage.kind)});
}

}  // namespace heddle
