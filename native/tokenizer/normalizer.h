// The normalizers of tokenizer.json.
#pragma once
#include <memory>
#include <vector>

#include "tokenizer/normalized_text.h"
#include "tokenizer/step_spec.h"

namespace heddle {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  virtual void run(NormalizedText& text) const = 0;
  virtual bool keeps_ascii() const { return false; }
};

using Normalizer = std::vector<std::shared_ptr<const NormalizerStep>>;

// Throws UNSUPPORTED or INVALID_FILE, naming the step.
Normalizer make_normalizer(const std::vector<StepSpec>& steps);

}  // namespace heddle
