// The functions that run once per text or token. Each is bound to one tokenizer, so that calls need not unwrap `this`.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "tokenizer/buffers.h"
#include "tokenizer/encoder.h"

namespace heddle {

class TokenizerCalls {
 public:
  explicit TokenizerCalls(std::shared_ptr<const TokenizerModel> model) : model_(model), encoder_(std::move(model)) {}

  // Sets encode, count, decode, settledText and `output` on a NativeTokenizer; see lib/binding/tokenizer.ts. Each
  // function keeps `calls` alive.
  static void define(const std::shared_ptr<TokenizerCalls>& calls, Napi::Object object);

  // Encodes the text info[0] with the optional barriers info[2].
  void run(const Napi::CallbackInfo& info, uint32_t flags);
  void encode(const Napi::Value& text, const EncodeOptions& options, const std::vector<uint32_t>& barriers);
  const Encoding& encoding() const { return encoding_; }

 private:
  static constexpr size_t output_capacity = 4096;  // in ids; longer results get a separate array

  static TokenizerCalls& from(const Napi::CallbackInfo& info) { return *static_cast<TokenizerCalls*>(info.Data()); }
  static Napi::Value encode_call(const Napi::CallbackInfo& info);
  static Napi::Value count_call(const Napi::CallbackInfo& info);
  static Napi::Value decode_call(const Napi::CallbackInfo& info);
  static Napi::Value settled_text_call(const Napi::CallbackInfo& info);
  size_t read_text(const Napi::Value& text);  // reads into text_; returns the number of UTF-16 units

  std::shared_ptr<const TokenizerModel> model_;
  Encoder encoder_;
  Encoding encoding_;
  RawBuffer<char16_t> text_;
  RawBuffer<char> decoded_;
  RawBuffer<char16_t> wide_;    // decoded text that is not ASCII
  uint32_t* output_ = nullptr;  // data of the `output` array
};

}  // namespace heddle
