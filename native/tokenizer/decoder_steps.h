// The decoders of tokenizer.json, for combinations that Decoder does not do by itself.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/step_spec.h"

namespace heddle {

class RegexBudget;

class DecoderStep {
 public:
  virtual ~DecoderStep() = default;
  // UTF-8. Throws INVALID_FILE where a text would become longer than `limit` bytes.
  virtual void run(std::vector<std::string>& tokens, size_t limit, RegexBudget& budget) const = 0;
};

using DecoderSteps = std::vector<std::shared_ptr<const DecoderStep>>;

// Throws UNSUPPORTED or INVALID_FILE, naming the step.
DecoderSteps make_decoder_steps(const std::vector<StepSpec>& steps);

// The byte that a token of the form <0xAB> stands for, else -1.
int byte_of_token(std::string_view text);

}  // namespace heddle
