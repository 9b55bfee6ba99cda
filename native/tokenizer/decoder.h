// Ids to text, at once or one by one. Text given out piece by piece adds up to the text of all ids at once.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "tokenizer/buffers.h"
#include "tokenizer/model.h"

namespace heddle {

class Decoder {
 public:
  // `continuing`: the text goes on from text already shown, so a first space is not stripped.
  Decoder(std::shared_ptr<const TokenizerModel> model, bool skip_special, bool continuing);

  // Appends to `out` the text that has become certain: never a part of a character, nor a run of byte tokens that
  // may yet turn out malformed. Ids that the vocabulary lacks add nothing.
  void push(uint32_t id, std::string& out);

  // Appends what push() held back; a partial character becomes U+FFFD. The decoder is then as new, but continuing.
  void flush(std::string& out);

  // Whether an id's text does not depend on those before it: then it is settled_text(), where the id has one.
  bool settled() const { return pending_.empty() && !at_start_; }

 private:
  void push_text(std::string_view text, std::string& out);
  void flush_bytes(std::string& out);

  std::shared_ptr<const TokenizerModel> model_;
  bool skip_special_;
  bool at_start_;
  std::string pending_;  // bytes: of a partial character, or of the current run of byte tokens
};

// The text of an id alone, if that is what it adds to any text: not of a special token, nor of a part of a character.
bool settled_text(const TokenizerModel& model, uint32_t id, std::string_view& text);

std::string decode(const std::shared_ptr<const TokenizerModel>& model, const uint32_t* ids, size_t count,
                   bool skip_special);

// The same into memory that is kept from call to call.
std::string_view decode(const TokenizerModel& model, const uint32_t* ids, size_t count, bool skip_special,
                        RawBuffer<char>& memory);

}  // namespace heddle
