// Pre-tokenization: hand-written equivalents of the regular expressions of the common byte-level tokenizers.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace heddle {

enum class SplitKind : uint8_t {
  gpt2 = 0,        // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  cl100k = 1,      // GPT-4, Llama 3, Qwen 2 and 3: k of \p{N}{1,k} is `max_digits`
  o200k = 2,       // GPT-4o; without `contractions`, Mistral's Tekken
  digits = 3,      // single \p{N} (max_digits 1) or runs of them (max_digits 0); other text is not split
  space_runs = 4,  // splits before every run of U+2581
  each_space = 5,  // splits before every U+2581
  cjk_runs = 6,    // DeepSeek 3: isolates runs of [一-龥぀-ゟ゠-ヿ]; other text is not split
  // DeepSeek 3's last pattern (lib/tokenizer/pipeline/patterns.ts). Text between matches becomes pieces too.
  deepseek = 7,
  bloom = 8,  //  ?[^(\s|[.,!?…。，、।۔،])]+; text between matches becomes pieces too
};

struct SplitStage {
  SplitKind kind = SplitKind::gpt2;
  uint8_t max_digits = 3;    // 0: no limit
  bool contractions = true;  // o200k only
};

// Returns the end of the piece that starts at p (p < end, well-formed UTF-8). Never returns p.
using NextPiece = const char* (*)(const char* p, const char* end, const SplitStage& stage);
NextPiece next_piece_function(SplitKind kind);

// Applies the stages, each to the pieces of the previous one, and calls emit(begin, end) for every piece of the last
// stage, left to right. split_run.h has run(), which compiles each pattern into the caller's loop.
class Splitter {
 public:
  explicit Splitter(std::vector<SplitStage> stages);

  template <class F> void run(const char* begin, const char* end, F&& emit) const;

 private:
  struct Stage {
    SplitStage options;
    NextPiece next;
  };

  template <class Pattern, class F> void run_one(const char* begin, const char* end, F& emit) const;
  template <class F> void run_stage(size_t index, const char* begin, const char* end, F& emit) const;

  std::vector<Stage> stages_;
};

}  // namespace heddle
