// The two long parts of a tokenizer.json, model.vocab and model.merges, read without making JavaScript objects of them.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

struct JsonVocabulary {
  std::string rest;       // the file with {} and [] in their places
  std::u16string tokens;  // one after the other
  std::vector<uint32_t> token_lengths, token_ids;
  std::u16string merges;  // left and right parts in turn
  std::vector<uint32_t> merge_lengths;

  // The id of a token as it is written, or UINT32_MAX.
  uint32_t find(std::u16string_view token) const;

 private:
  friend std::unique_ptr<const JsonVocabulary> read_json_vocabulary(std::string_view json);
  bool index();  // false if a token is there twice
  std::vector<size_t> begins_;
  std::vector<uint32_t> slots_;
};

// Null for anything but a file as Hugging Face's library writes it: whoever reads it then in the usual way says what is wrong, if
// anything is. `rest` is not checked.
std::unique_ptr<const JsonVocabulary> read_json_vocabulary(std::string_view json);

}  // namespace heddle
