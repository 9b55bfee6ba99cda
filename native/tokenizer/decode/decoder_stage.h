// The state of a tokenizer.json decoder step for one text. Stages form a chain. Each passes on text as soon as it is
// final.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

namespace heddle {

class RegexBudget;

class DecoderStage {
 public:
  virtual ~DecoderStage() = default;
  virtual std::unique_ptr<DecoderStage> clone() const = 0;

  // Takes one whole token, or after a stage that joins tokens, more of their text. UTF-8.
  virtual void take(std::string text) = 0;
  // Ends the input: passes on what take() held back. Tokens taken afterwards continue the text.
  virtual void finish() {}

  DecoderStage* next = nullptr;
  // shared by all stages of the chain; its bytes are those that entered the chain so far
  RegexBudget* budget = nullptr;
};

template <class T> class ClonedStage : public DecoderStage {
 public:
  std::unique_ptr<DecoderStage> clone() const override { return std::make_unique<T>(static_cast<const T&>(*this)); }
};

// Limits growth: many steps that each write slightly more than they read could turn a word into gigabytes.
class GrowthLimit {
 public:
  // Counts a stage that has read `read` bytes and inserted `added`. Throws INVALID_FILE if that is far more than
  // entered the chain.
  void add(size_t read, size_t added, size_t bytes_given);

 private:
  size_t written_ = 0;
};

}  // namespace heddle
