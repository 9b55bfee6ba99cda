// Encodes segments with arbitrary normalizers and pre-tokenizers, on text that records the origin of each byte.
#include <algorithm>

#include "tokenizer/text/ascii_block.h"
#include "tokenizer/encoder.h"
#include "tokenizer/encoder_target.h"
#include "tokenizer/text/unicode.h"
#include "tokenizer/text/unicode_normalizer.h"

namespace heddle {

// Runs the normalizers, the search for the added tokens that match normalized text, and the pre-tokenizers.
void Encoder::encode_generally(std::string_view text, size_t begin, size_t end, Target& target) {
  const TokenizerModel& model = *model_;
  const bool guards = !target.barriers.empty() && !model.normalized_added.empty();
  general_.assign(text.substr(begin, end - begin), begin, target.map != nullptr || guards || model.needs_origins);
  general_.cancellation = target.options.cancellation;
  general_.regex_budget = &regex_budget_;
  general_.continues = begin == 0 && !target.options.add_prefix;
  for (const auto& step : model.normalizer) {
    step->run(general_);
    target.look();
  }
  if (model.needs_nfc) compose_text(general_, false);
  target.sources = nullptr;
  if (!model.normalized_added.empty()) {
    const std::vector<size_t> barriers = guards ? normalized_barriers(text, target.barriers) : std::vector<size_t>();
    inner_segments_.clear();
    model.normalized_added.split(
        general_.text, 0, general_.text.size(), allowed(target.options), barriers, inner_segments_);
    for (const TextSegment& segment : inner_segments_) {
      if (segment.id == no_token) {
        encode_pieces(segment.begin, segment.end, target);
        continue;
      }
      target.out.ids.push_back(segment.id);
      if (target.map == nullptr) continue;
      target.out.offsets.push_back(target.map->start(general_.origins[segment.begin].begin));
      target.out.offsets.push_back(target.map->start(general_.origins[segment.end - 1].end));
    }
  } else if (!general_.text.empty()) {
    encode_pieces(0, general_.text.size(), target);
  }
  target.origins = nullptr;
}

// Maps the barriers of `text` to general_. A barrier inside or at the end of a character's origin is placed after that
// character. Each barrier is also placed before the first character whose origin begins at or after it. A normalizer
// may replace several characters at once, and the last characters of the replacement then have later origins.
// Therefore, if the character before a barrier has changed, a barrier also follows each changed character directly
// after it.
std::vector<size_t> Encoder::normalized_barriers(std::string_view text, const std::vector<size_t>& given) const {
  std::vector<size_t> barriers;
  bool follows_changed = false;
  auto ahead = given.begin();
  for (size_t byte = 0; byte < general_.text.size();) {
    const Origin origin = general_.origins[byte];
    const auto passed = ahead;
    while (ahead != given.end() && *ahead <= origin.begin) ++ahead;
    if (ahead != passed) barriers.push_back(byte);
    const auto size = static_cast<size_t>(utf::sequence_length(general_.text[byte]));
    const bool changed =
        std::string_view(general_.text).substr(byte, size) != text.substr(origin.begin, origin.end - origin.begin);
    byte += size;
    const auto inside = std::upper_bound(given.begin(), given.end(), origin.begin);
    const bool marked = inside != given.end() && *inside <= origin.end;
    follows_changed = changed && (marked || follows_changed);
    if (marked || follows_changed) barriers.push_back(byte);
  }
  return barriers;
}

// Encodes the pieces of general_ from `begin` to `end`.
void Encoder::encode_pieces(size_t begin, size_t end, Target& target) {
  const TokenizerModel& model = *model_;
  if (model.pre_tokenizer.empty()) {
    target.buffer = general_.text.data();
    target.readable_end = general_.text.data() + general_.text.size();
    target.origins = target.map != nullptr ? &general_.origins : nullptr;
    return encode_plain(general_.text.data() + begin, general_.text.data() + end, target);
  }
  TextBuilder part(general_);
  part.keep(begin, end);
  pieces_.text = part.take();
  pieces_.text.continues = general_.continues && begin == 0;
  pieces_.pieces.assign(1, {0, end - begin});
  for (const auto& step : model.pre_tokenizer) {
    step->run(pieces_);
    pieces_.text.check_growth(pieces_.text.text.size());
    target.look();
  }
  target.buffer = pieces_.text.text.data();
  target.readable_end = target.buffer + pieces_.text.text.size();
  target.origins = target.map != nullptr ? &pieces_.text.origins : nullptr;
  const bool offsets = target.map != nullptr;
  const bool caches = (!offsets || model.every_byte_known) && !dropout_.active();
  for (const Pieces::Piece& piece : pieces_.pieces) {
    const char* word = target.buffer + piece.begin;
    const char* word_end = target.buffer + piece.end;
    if (!caches || word == word_end) encode_word(word, word_end, target);
    else if (offsets) encode_cached<true>(word, word_end, target);
    else encode_cached<false>(word, word_end, target);
    target.check_canceled();
  }
}

// Whether the text has a character that may not be in NFC.
bool Encoder::may_need_nfc(std::string_view text) const {
  const uint8_t* table = unicode::flag_table();
  for (size_t i = 0; i < text.size();) {
    if (text.size() - i >= AsciiBlock::size && AsciiBlock(text.data() + i).high() == 0) {
      i += AsciiBlock::size;
      continue;
    }
    if (static_cast<uint8_t>(text[i]) < 0xCC) {  // U+0300, the lowest character that composes, begins with 0xCC
      i += static_cast<uint8_t>(text[i]) < 0x80 ? 1 : 2;
      continue;
    }
    int size = 0;
    const uint32_t code = utf::decode(text.data() + i, size);
    if (unicode::flags_of(table, code) & unicode::nfc_unsafe) return true;
    i += size;
  }
  return false;
}

}  // namespace heddle
