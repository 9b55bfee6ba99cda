// The pre-tokenizers of tokenizer.json, for combinations that Splitter does not support.
#pragma once
#include <memory>
#include <vector>

#include "tokenizer/text/normalized_text.h"
#include "tokenizer/step_spec.h"

namespace heddle {

// A text and its pieces to encode, in order. Text between pieces has been dropped.
struct Pieces {
  struct Piece {
    size_t begin, end;
  };
  NormalizedText text;
  std::vector<Piece> pieces;
};

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual void run(Pieces& pieces) const = 0;
  virtual bool needs_origins() const { return false; }
};

using PreTokenizer = std::vector<std::shared_ptr<const PreTokenizerStep>>;

// Throws UNSUPPORTED or INVALID_FILE with the name of the step.
PreTokenizer make_pre_tokenizer(const std::vector<StepSpec>& steps);

}  // namespace heddle
