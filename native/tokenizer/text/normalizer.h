// The normalizers of tokenizer.json.
#pragma once
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/text/normalized_text.h"
#include "tokenizer/step_spec.h"

namespace heddle {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  virtual void run(NormalizedText& text) const = 0;
  // Whether the step leaves ASCII text unchanged.
  virtual bool keeps_ascii() const { return false; }

  // Whether the step may replace several characters, beginning with `first`, by a text that the test accepts.
  using TextTest = std::function<bool(std::string_view)>;
  virtual bool may_write(uint32_t, const TextTest&) const { return false; }
};

using Normalizer = std::vector<std::shared_ptr<const NormalizerStep>>;

// Throws UNSUPPORTED or INVALID_FILE with the name of the step.
Normalizer make_normalizer(const std::vector<StepSpec>& steps);

}  // namespace heddle
