// The decoders of tokenizer.json, for combinations that Decoder does not support.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/decode/decoder_stage.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/step_spec.h"

namespace heddle {

// Applies the steps of a decoder to tokens, one by one. A copy continues the text independently.
class DecoderPipeline {
 public:
  DecoderPipeline() = default;
  // Without steps, tokens are joined by spaces. Throws UNSUPPORTED or INVALID_FILE with the name of the step.
  explicit DecoderPipeline(const std::vector<StepSpec>& steps);
  DecoderPipeline(const DecoderPipeline& other);
  DecoderPipeline& operator=(DecoderPipeline&&) = default;

  // Decodes a token and appends to `out` the text that can no longer change.
  void push(std::string_view token, std::string& out);
  // Appends the text that push() held back.
  void finish(std::string& out);

  // Whether no text from this token on depends on earlier tokens. Returns false if that is unknown. All queries share
  // `budget`.
  bool resets(std::string_view token, RegexBudget& budget) const;

 private:
  // The end of the chain.
  class Output : public DecoderStage {
   public:
    std::unique_ptr<DecoderStage> clone() const override { return std::make_unique<Output>(); }
    void take(std::string text) override { out->append(text); }
    std::string* out = nullptr;
  };
  // The part of a pipeline whose address stays the same when the pipeline moves.
  struct Chain {
    std::vector<std::unique_ptr<DecoderStage>> stages;
    Output output;
    RegexBudget budget{0};  // grows with the tokens
    bool has_token = false;
    bool has_text_stages = false;  // text stages may hold back text of any length
    void link();
  };
  std::unique_ptr<Chain> chain_ = std::make_unique<Chain>();
};

// Returns the byte value of a token of the form <0xAB>, or -1.
int byte_of_token(std::string_view text);

}  // namespace heddle
