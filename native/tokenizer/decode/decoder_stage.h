// The state of a decoder step of tokenizer.json for one text. Stages form a chain. Each passes text on as soon as it is
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

  // Takes one whole token as UTF-8. After a stage that joins tokens, takes the next part of their text.
  virtual void take(std::string text) = 0;
  // Ends the input: passes on what take() held back. Later tokens continue the text.
  virtual void finish() {}

  DecoderStage* next = nullptr;
  // Shared by all stages of the chain. It grows with the bytes that enter the chain.
  RegexBudget* budget = nullptr;
};

template <class T> class ClonedStage : public DecoderStage {
 public:
  std::unique_ptr<DecoderStage> clone() const override { return std::make_unique<T>(static_cast<const T&>(*this)); }
};

// Limits growth: many steps that each write slightly more than they read could turn a word into gigabytes.
class GrowthLimit {
 public:
  // Counts `read` bytes that a stage has read, and `added` bytes that it has inserted. Throws INVALID_FILE if the total
  // is far above `bytes_given`, the bytes that entered the chain.
  void add(size_t read, size_t added, size_t bytes_given);

 private:
  size_t written_ = 0;
};

}  // namespace heddle
