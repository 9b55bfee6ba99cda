// Texts that are copied from JavaScript for a job's threads. A long text is copied in parts by several calls, so that
// no call takes long.
#pragma once
#include <napi.h>

#include <cstddef>
#include <vector>

#include "core/error.h"
#include "tokenizer/buffers.h"

namespace heddle {

class Utf16Batch {
 public:
  struct Text {
    size_t begin, length;  // UTF-16 units
  };

  explicit Utf16Batch(RawBuffer<char16_t> memory = {}) : units_(std::move(memory)) {}

  // Reserves room for `units` units in total.
  void expect(size_t units) { units_.reserve(units + slack); }

  // Reads the strings of an array, most of them with one Node-API call each. With `continues`, the first string is
  // appended to the last text.
  void read(const Napi::Value& value, bool continues) {
    if (!value.IsArray()) throw invalid_argument("texts: expected an array of strings, got something else");
    if (continues && texts_.empty()) throw invalid_argument("texts: expected a text to continue, got none");
    assert_idle();
    const Napi::Array array = value.As<Napi::Array>();
    const Reading reading(*this);
    const uint32_t count = array.Length();
    for (uint32_t i = 0; i < count; ++i) {
      const Napi::HandleScope scope(array.Env());
      const size_t length = append(array.Get(i));
      if (i == 0 && continues) texts_.back().length += length;
      else texts_.push_back({used_ - length, length});
    }
  }

  // Throws while read() runs. Getters of the array may call back into the batch.
  void assert_idle() const {
    if (reading_) throw invalid_argument("texts: expected no call while the texts are read, got one");
  }

  const std::vector<Text>& texts() const { return texts_; }
  const char16_t* units() const { return units_.data(); }
  size_t size() const { return used_; }
  size_t capacity() const { return units_.capacity(); }

  // Empties the batch and returns its memory for reuse.
  RawBuffer<char16_t> take() {
    assert_idle();
    texts_.clear();
    used_ = 0;
    return std::move(units_);
  }

 private:
  class Reading {
   public:
    explicit Reading(Utf16Batch& texts) : texts_(texts) { texts_.reading_ = true; }
    ~Reading() { texts_.reading_ = false; }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    Utf16Batch& texts_;
  };

  static constexpr size_t slack = 4096;  // shorter texts need no second call for their length

  size_t append(const Napi::Value& value) {
    const Napi::Env env = value.Env();
    if (!value.IsString()) throw invalid_argument("texts: expected strings, got something else");
    units_.reserve(used_ + slack);
    size_t length = 0;
    check(env, napi_get_value_string_utf16(env, value, units_.data() + used_, units_.capacity() - used_, &length));
    if (used_ + length + 1 >= units_.capacity()) {  // the text may have been cut off
      check(env, napi_get_value_string_utf16(env, value, nullptr, 0, &length));
      units_.reserve(used_ + length + 2);
      check(env, napi_get_value_string_utf16(env, value, units_.data() + used_, units_.capacity() - used_, &length));
    }
    used_ += length;
    return length;
  }

  static void check(Napi::Env env, napi_status status) {
    if (status != napi_ok) throw Napi::Error::New(env);
  }

  RawBuffer<char16_t> units_;
  std::vector<Text> texts_;
  size_t used_ = 0;
  bool reading_ = false;
};

}  // namespace heddle
