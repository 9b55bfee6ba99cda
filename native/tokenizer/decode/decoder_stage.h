// A step of tokenizer.json's decoder at work on the tokens of one text. Stages form a chain: each hands on what has become certain.
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

  // One whole token, or behind a stage that joins tokens more of their text. UTF-8.
  virtual void take(std::string text) = 0;
  // No more comes: hands on what take() held back. Tokens taken afterwards continue the text.
  virtual void finish() {}

  DecoderStage* next = nullptr;
  RegexBudget* budget = nullptr;  // of the text: all stages of the chain share it. Its bytes are those that entered the chain so far.
};

template <class T>
class ClonedStage : public DecoderStage {
 public:
  std::unique_ptr<DecoderStage> clone() const override { return std::make_unique<T>(static_cast<const T&>(*this)); }
};

// Steps that each write a little more than they read would make gigabytes of a word.
class GrowthLimit {
 public:
  // A stage has read `read` bytes and put `added` more in. Throws INVALID_FILE where that is far more than entered the chain.
  void add(size_t read, size_t added, size_t bytes_given);

 private:
  size_t written_ = 0;
};

}  // namespace heddle
