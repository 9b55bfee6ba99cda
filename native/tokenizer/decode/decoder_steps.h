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

// Applies the steps of a decoder to tokens one by one. Copies continue the text independently.
class DecoderPipeline {
 public:
  DecoderPipeline() = default;
  // Without steps, tokens are joined by spaces. Throws UNSUPPORTED or INVALID_FILE, naming the step.
  explicit DecoderPipeline(const std::vector<StepSpec>& steps);
  DecoderPipeline(const DecoderPipeline& other);
  DecoderPipeline& operator=(DecoderPipeline&&) = default;

  // Appends to `out` the text that has become certain.
  void push(std::string_view token, std::string& out);
  // Appends the rest.
  void finish(std::string& out);

  // Whether, after this token, nothing depends on the tokens before it. False where that is not known. `budget` is that
  // of all tokens that are asked about.
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
    bool has_text_stages = false;  // which may hold back any length of text
    void link();
  };
  std::unique_ptr<Chain> chain_ = std::make_unique<Chain>();
};

// The byte value of a token of the form <0xAB>, or -1.
int byte_of_token(std::string_view text);

}  // namespace heddle
