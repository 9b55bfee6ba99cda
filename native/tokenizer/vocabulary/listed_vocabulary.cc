#include "tokenizer/vocabulary/listed_vocabulary.h"

#include <utility>

#include "core/error.h"
#include "tokenizer/vocabulary/score_merges.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

enum Type : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5 };

constexpr uint64_t max_token_units = 1 << 16;
constexpr std::string_view word_mark = "\xE2\x96\x81";  // U+2581
constexpr std::string_view subword_prefix = "##";

std::string shown(std::string_view text) {
  std::string out;
  utf::append_lossy(text.substr(0, 100), out);
  return '"' + out + '"';
}

void check_length(const ListedVocabulary& listed, std::string_view token) {
  if (token.size() <= max_token_units) return;
  const uint64_t units = utf::utf16_length(token);
  if (units <= max_token_units) return;
  throw invalid_file(listed.where + ": expected at most " + std::to_string(max_token_units) + " characters, got " +
                     std::to_string(units));
}

// Appends a token in WordPiece's notation: without U+2581 if it begins a word, otherwise with the prefix "##". A token
// that is only U+2581 continues a word, because no word is empty. Early converters omitted U+2581 before names such as
// [unused1].
void add_word_piece(std::string_view token, uint8_t type, TextBuffer& out) {
  if (type == control || type == unknown) return out.append(token);
  if (token.substr(0, word_mark.size()) == word_mark && token != word_mark)
    return out.append(token.substr(word_mark.size()));
  const bool in_brackets = token.size() > 2 && token.front() == '[' && token.find(']') == token.size() - 1;
  if (type != user_defined && type != unused && !in_brackets) out.append(subword_prefix);
  out.append(token);
}

// Returns `bytes`, with malformed parts replaced by U+FFFD. In that case `room` holds the result.
std::string_view well_formed(std::string_view bytes, std::string& room) {
  if (utf::is_well_formed(bytes)) return bytes;
  room.clear();
  utf::append_lossy(bytes, room);
  return room;
}

void add_tokens(const ListedVocabulary& listed, VocabularyTexts& out) {
  const StringList& tokens = *listed.tokens;
  const size_t count = tokens.size();
  out.tokens.room(tokens.text_bytes() + (listed.word_marks ? subword_prefix.size() * count : 0));
  out.token_lengths.room(count);
  out.token_ids.room(count);
  std::string room;
  tokens.for_each([&](std::string_view bytes) {
    const std::string_view token = well_formed(bytes, room);
    check_length(listed, token);
    const auto id = static_cast<uint32_t>(out.token_ids.size());
    const size_t before = out.tokens.size();
    if (listed.word_marks) {
      add_word_piece(token, listed.types[id], out.tokens);
    } else {
      out.tokens.append(token);
    }
    out.token_lengths.push_back(static_cast<uint32_t>(out.tokens.size() - before));
    out.token_ids.push_back(id);
  });
}

void add_merges(const ListedVocabulary& listed, VocabularyTexts& out) {
  std::string room;
  listed.merges->for_each([&](std::string_view bytes) {
    const std::string_view merge = well_formed(bytes, room);
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos) {
      throw invalid_file(listed.merges_where + "[" + std::to_string(out.merge_lengths.size() / 2) +
                         "]: expected two parts with one space between them, got " + shown(merge));
    }
    out.add_merge(merge.substr(0, space), merge.substr(space + 1));
  });
}

}  // namespace

std::unique_ptr<const FileVocabulary> make_listed_vocabulary(ListedVocabulary listed) {
  const size_t count = listed.tokens->size();
  if (listed.types.size() != count) throw invalid_file(listed.where + ": expected one type per token");
  if (!listed.scores.empty() && listed.scores.size() != count)
    throw invalid_file(listed.where + ": expected one score per token");
  if (listed.merges_by_score && listed.scores.size() != count) throw invalid_file(listed.where + ": expected scores");
  auto out = std::make_unique<FileVocabulary>();
  VocabularyTexts& texts = out->texts;
  add_tokens(listed, texts);
  if (listed.merges != nullptr) add_merges(listed, texts);
  listed.tokens = listed.merges = nullptr;
  texts.scores = std::move(listed.scores);
  if (listed.merges_by_score) {
    texts.mergeable.resize(count);
    for (size_t i = 0; i < count; ++i)
      texts.mergeable[i] = listed.types[i] == normal || listed.types[i] == user_defined;
    check_score_merges(texts, listed.where);
  }
  out->place_tokens();
  return out;
}

}  // namespace heddle
