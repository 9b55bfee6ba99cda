// Decodes ids to text, all at once or one by one. Both give the same text: the parts that Decoder returns, joined,
// equal the result of decode().
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "tokenizer/buffers.h"
#include "tokenizer/models/model.h"

namespace heddle {

class Decoder {
 public:
  Decoder(std::shared_ptr<const TokenizerModel> model, bool skip_special);
  // A copy continues the text independently.
  Decoder(const Decoder& other) = default;

  // Starts after these ids, whose text decode() has already returned. Call it on a new decoder only.
  void follow(const uint32_t* ids, size_t count);

  // Decodes an id and appends to `out` the text that can no longer change. Holds back incomplete characters, and runs
  // of byte tokens that may become malformed. Ignores ids that the vocabulary lacks.
  void push(uint32_t id, std::string& out);

  // Appends what push() held back. An incomplete character becomes U+FFFD. Later ids continue the text.
  void flush(std::string& out);

  // Whether the next id's text is independent of earlier ids. If settled_text() also returns true for the next id, it
  // gives that text.
  bool settled() const {
    return model_->decode_kind != DecodeKind::steps && pending_.empty() && !at_start_ && shown_.empty();
  }

 private:
  void push_any(uint32_t id, std::string& out);
  void flush_any(std::string& out);
  void push_text(std::string_view text, std::string& out);
  void flush_bytes(std::string& out);
  void leave_out_shown(std::string& out, size_t from);

  std::shared_ptr<const TokenizerModel> model_;
  bool skip_special_;
  bool at_start_;
  std::string pending_;  // bytes of an incomplete character, or of the current run of byte tokens
  // Pending text at the end of follow(), which decode() has already returned. push() and flush() leave it out.
  std::string shown_;
  DecoderPipeline steps_;  // for DecodeKind::steps
};

// Whether an id adds the same text in any context. `text` receives this text, which is empty if the vocabulary lacks
// the id. Returns false for special tokens, for parts of characters, and if the decoder is a pipeline of steps.
bool settled_text(const TokenizerModel& model, uint32_t id, std::string_view& text);

// Returns the index of the last id from which decoding can restart: no text from there on depends on earlier ids.
// Returns `count` if none is known.
size_t last_reset(const TokenizerModel& model, const uint32_t* ids, size_t count);

std::string decode(
    const std::shared_ptr<const TokenizerModel>& model, const uint32_t* ids, size_t count, bool skip_special);

// Like decode above, but writes into `memory`, which callers reuse.
std::string_view decode(
    const TokenizerModel& model, const uint32_t* ids, size_t count, bool skip_special, RawBuffer<char>& memory);

}  // namespace heddle
