// Splits a text into segments between added tokens, and normalizes them for the common models.
#include "tokenizer/encoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "tokenizer/encoder_target.h"

namespace heddle {
namespace {

// Converts ascending UTF-16 offsets to byte offsets in `text`.
std::vector<size_t> to_bytes(const std::vector<uint32_t>& utf16_offsets, std::string_view text) {
  std::vector<size_t> bytes;
  bytes.reserve(utf16_offsets.size());
  size_t byte = 0;
  uint32_t at = 0;
  for (const uint32_t offset : utf16_offsets) {
    while (at < offset && byte < text.size()) {
      const int size = utf::sequence_length(text[byte]);
      at += size == 4 ? 2 : 1;
      byte += size;
    }
    bytes.push_back(byte);
  }
  return bytes;
}

}  // namespace

void Encoder::encode(const char16_t* text, size_t length, const EncodeOptions& options,
    const std::vector<uint32_t>& barriers, Encoding& out) {
  if (length > SIZE_MAX / 4) throw std::bad_alloc();
  utf8_.finish(utf::to_utf8(text, length, utf8_.start(3 * length)));
  const std::string_view utf8 = utf8_.view();
  const utf::OffsetMap map(options.offsets ? utf8 : std::string_view(), options.byte_offsets);
  const std::vector<size_t> byte_barriers = to_bytes(barriers, utf8);
  dropout_.seed(options.dropout, options.seed);
  merger_.watch(options.cancellation);
  regex_budget_ = RegexBudget(utf8.size());
  Target target{out, options, options.offsets ? &map : nullptr, byte_barriers};
  try {
    encode_all(utf8, target);
  } catch (const Target::Full&) {
  }
}

void Encoder::encode_all(std::string_view utf8, Target& target) {
  if (target.options.add_special) target.add_outside(model_->begin_ids);
  if (model_->raw_added.empty()) {
    encode_text(utf8, 0, utf8.size(), true, target);
  } else {
    raw_segments_.clear();
    model_->raw_added.split(utf8, 0, utf8.size(), allowed(target.options), target.barriers, raw_segments_);
    for (const TextSegment& segment : raw_segments_) {
      target.check_canceled();
      if (segment.id != no_token) target.add_token(segment.id, segment.begin, segment.end);
      else encode_text(utf8, segment.begin, segment.end, segment.begin == 0, target);
    }
  }
  if (target.options.add_special) target.add_outside(model_->end_ids);
}

// Encodes one segment between added tokens of the raw text: normalizes it and searches for the added tokens that match
// normalized text.
void Encoder::encode_text(std::string_view text, size_t begin, size_t end, bool at_start, Target& target) {
  if (begin == end) return;
  const TokenizerModel& model = *model_;
  const bool normalizes =
      !model.normalizer.empty() &&
      !(model.normalizer_keeps_ascii && utf::ascii_length(text.substr(begin, end - begin)) == end - begin);
  if (normalizes || !model.pre_tokenizer.empty() ||
      (model.needs_nfc && may_need_nfc(text.substr(begin, end - begin)))) {
    return encode_generally(text, begin, end, target);
  }
  const bool marks = model_->spaces_to_marks;
  const PrefixRule rule = model_->prefix_rule;
  const std::string& prefix = model_->prefix;
  const bool copies = marks || rule != PrefixRule::never;
  if (!copies) {
    target.buffer = text.data();
    target.readable_end = utf8_.view().data() + utf8_.view().size() + Utf8Buffer::padding;
    target.sources = nullptr;
    return split_normalized(text, begin, end, target.barriers, target);
  }

  normalized_.clear();
  source_.clear();
  const bool sources = target.map != nullptr;
  const auto put_prefix = [&] {
    normalized_ += prefix;
    if (sources) source_.resize(normalized_.size(), UINT32_MAX);
  };
  const auto starts_with_prefix = [&] {  // "\xE2\x96\x81" is U+2581
    const std::string_view rest = text.substr(begin, end - begin);
    return rest.substr(0, prefix.size()) == prefix || (marks && rest[0] == ' ' && prefix == "\xE2\x96\x81");
  };
  const bool may_prefix = begin > 0 || target.options.add_prefix;
  if (may_prefix && (rule == PrefixRule::always || (rule == PrefixRule::unless_there && !starts_with_prefix()) ||
                        (rule == PrefixRule::first_unless_there && at_start && !starts_with_prefix()))) {
    put_prefix();
  }
  std::vector<size_t> barriers;  // positions in normalized_
  auto barrier = std::lower_bound(target.barriers.begin(), target.barriers.end(), begin);
  // Includes a barrier at `end`, which follows the segment's last character.
  const auto barriers_end = std::upper_bound(barrier, target.barriers.end(), end);
  size_t i = begin;
  if (!sources && barrier == barriers_end) {  // copies whole stretches between spaces
    while (i < end) {
      const void* space = marks ? std::memchr(text.data() + i, ' ', end - i) : nullptr;
      const size_t stop = space != nullptr ? static_cast<size_t>(static_cast<const char*>(space) - text.data()) : end;
      normalized_.append(text, i, stop - i);
      if (stop < end) normalized_ += "\xE2\x96\x81";
      i = stop + 1;
    }
  }
  for (; i < end; ++i) {
    for (; barrier != barriers_end && *barrier == i; ++barrier) {
      barriers.push_back(normalized_.size());
    }
    if (marks && text[i] == ' ') normalized_ += "\xE2\x96\x81";
    else normalized_ += text[i];
    if (sources) source_.resize(normalized_.size(), static_cast<uint32_t>(i));
  }
  for (; barrier != barriers_end; ++barrier) barriers.push_back(normalized_.size());
  if (sources) source_.push_back(static_cast<uint32_t>(end));
  target.buffer = normalized_.data();
  target.readable_end = normalized_.data() + normalized_.size();
  target.sources = &source_;
  split_normalized(normalized_, 0, normalized_.size(), barriers, target);
}

// Searches normalized text for the added tokens that match normalized text, and encodes the text between them.
void Encoder::split_normalized(
    std::string_view text, size_t begin, size_t end, const std::vector<size_t>& barriers, Target& target) {
  if (model_->normalized_added.empty()) return encode_plain(text.data() + begin, text.data() + end, target);
  inner_segments_.clear();
  model_->normalized_added.split(text, begin, end, allowed(target.options), barriers, inner_segments_);
  for (const TextSegment& segment : inner_segments_) {
    const char* segment_begin = text.data() + segment.begin;
    const char* segment_end = text.data() + segment.end;
    if (segment.id == no_token) {
      encode_plain(segment_begin, segment_end, target);
      continue;
    }
    target.out.ids.push_back(segment.id);
    if (target.map != nullptr) target.add_offsets(segment_begin, segment_end);
  }
}

AllowedSpecials Encoder::allowed(const EncodeOptions& options) const {
  if (options.allow_special || options.allowed_ids == nullptr) return options.allow_special;
  return AllowedSpecials(*options.allowed_ids);
}

}  // namespace heddle
