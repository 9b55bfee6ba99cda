#include "tokenizer/decode/decoder.h"

#include <cstring>

#include "tokenizer/regex/regex.h"
#include "tokenizer/text/utf.h"

namespace heddle {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

// Returns the number of U+FFFD at the beginning, at most `most`.
size_t leading_replacements(std::string_view text, size_t most) {
  size_t count = 0;
  while (count < most && text.substr(count * replacement.size(), replacement.size()) == replacement) ++count;
  return count;
}

}  // namespace

Decoder::Decoder(std::shared_ptr<const TokenizerModel> model, bool skip_special)
    : model_(std::move(model)), skip_special_(skip_special), at_start_(model_->strip_first_space) {
  if (model_->decode_kind == DecodeKind::steps) steps_ = DecoderPipeline(model_->decoder_steps);
}

void Decoder::follow(const uint32_t* ids, size_t count) {
  std::string certain;
  for (size_t i = 0; i < count; ++i) {
    push_any(ids[i], certain);
    certain.clear();
  }
  Decoder end(*this);
  end.flush_any(shown_);
}

void Decoder::push(uint32_t id, std::string& out) {
  const size_t from = out.size();
  push_any(id, out);
  if (!shown_.empty()) leave_out_shown(out, from);
}

void Decoder::flush(std::string& out) {
  const size_t from = out.size();
  flush_any(out);
  if (!shown_.empty()) leave_out_shown(out, from);
  shown_.clear();
}

// Erases the common prefix of out[from..] and shown_ from both. U+FFFD counts as equal to the bytes that it replaces.
// Bytes that were shown as one U+FFFD each may now form a character. Conversely, the bytes of a shown character may now
// be one U+FFFD each. After any other difference, all remaining text is new.
void Decoder::leave_out_shown(std::string& out, size_t from) {
  size_t at = from;
  while (at < out.size() && !shown_.empty()) {
    const std::string_view now = std::string_view(out).substr(at);
    const auto now_size = static_cast<size_t>(utf::sequence_length(now[0]));
    const auto shown_size = static_cast<size_t>(utf::sequence_length(shown_[0]));
    if (now.substr(0, now_size) == shown_.substr(0, shown_size)) {
      at += now_size;
      shown_.erase(0, shown_size);
    } else if (leading_replacements(now, shown_size) == shown_size) {
      at += shown_size * replacement.size();
      shown_.erase(0, shown_size);
    } else if (leading_replacements(shown_, now_size) == now_size) {
      at += now_size;
      shown_.erase(0, now_size * replacement.size());
    } else {
      shown_.clear();
    }
  }
  out.erase(from, at - from);
}

void Decoder::push_any(uint32_t id, std::string& out) {
  const bool in_steps = model_->decode_kind == DecodeKind::steps;
  if (!(in_steps ? model_->names : model_->texts).has(id)) return;
  if (skip_special_ && model_->is_special[id]) return;
  if (in_steps) return steps_.push(model_->names.bytes(id), out);
  const std::string_view text = model_->texts.bytes(id);
  if (model_->decode_kind == DecodeKind::byte_fallback) {
    const int byte = model_->byte_of(id);
    if (byte >= 0) {
      pending_ += static_cast<char>(byte);
      return;
    }
    flush_bytes(out);
    push_text(text, out);
    return;
  }
  if (pending_.empty() && utf::incomplete_tail(text) == 0) {
    utf::append_lossy(text, out);
    return;
  }
  pending_ += text;
  const size_t keep = utf::incomplete_tail(pending_);
  utf::append_lossy(std::string_view(pending_).substr(0, pending_.size() - keep), out);
  pending_.erase(0, pending_.size() - keep);
}

void Decoder::flush_any(std::string& out) {
  if (model_->decode_kind == DecodeKind::steps) return steps_.finish(out);
  flush_bytes(out);
  at_start_ = false;
}

// Appends the pending bytes. Malformed parts become U+FFFD in a byte-level model. The bytes of byte tokens become text
// if they are well-formed as a whole, otherwise one U+FFFD each, like in Hugging Face's ByteFallback decoder.
void Decoder::flush_bytes(std::string& out) {
  if (pending_.empty()) return;
  std::string bytes;
  bytes.swap(pending_);
  if (model_->decode_kind == DecodeKind::bytes) return utf::append_lossy(bytes, out);
  if (utf::is_well_formed(bytes)) return push_text(bytes, out);
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) text += replacement;
  push_text(text, out);
}

void Decoder::push_text(std::string_view text, std::string& out) {
  if (at_start_ && !text.empty()) {
    at_start_ = false;
    if (text[0] == ' ') text.remove_prefix(1);
  }
  out.append(text);
}

bool settled_text(const TokenizerModel& model, uint32_t id, std::string_view& text) {
  if (model.decode_kind == DecodeKind::steps) return false;
  text = {};
  if (!model.texts.has(id)) return true;
  if (model.is_special[id]) return false;
  if (model.decode_kind == DecodeKind::byte_fallback && model.byte_of(id) >= 0) return false;
  text = model.texts.bytes(id);
  return utf::is_well_formed(text);
}

size_t last_reset(const TokenizerModel& model, const uint32_t* ids, size_t count) {
  const bool in_steps = model.decode_kind == DecodeKind::steps;
  RegexBudget budget(0);
  const auto resets = [&](uint32_t id) {
    if (in_steps)
      return model.names.has(id) && !model.is_special[id] && model.decoder_steps.resets(model.names.bytes(id), budget);
    std::string_view text;
    return settled_text(model, id, text) && !text.empty();
  };
  for (size_t i = count; i > 0; --i) {
    if (resets(ids[i - 1])) return i - 1;
  }
  return count;
}

namespace {

std::string decode_in_steps(const TokenizerModel& model, const uint32_t* ids, size_t count, bool skip_special) {
  DecoderPipeline steps(model.decoder_steps);
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t id = ids[i];
    if (model.names.has(id) && !(skip_special && model.is_special[id])) steps.push(model.names.bytes(id), out);
  }
  steps.finish(out);
  return out;
}

// Writes the texts of ids back to back.
class Writer {
 public:
  Writer(const TokenTexts& texts, RawBuffer<char>& memory, size_t ids) : texts_(texts), memory_(memory) {
    memory_.reserve((ids + 1) * TokenTexts::block);
  }
  void put(uint32_t id, size_t ids_left) {
    const TokenTexts::Text& text = texts_[id];
    if (text.length <= TokenTexts::most) {
      std::memcpy(memory_.data() + size_, &text, TokenTexts::block);
      size_ += text.length;
    } else {
      put(texts_.table().bytes(id), ids_left);
    }
  }
  // Appends the texts of all ids. Unknown ids add nothing. The output's end is a local variable, so that the compiler
  // can keep it in a register.
  void put_all(const uint32_t* ids, size_t count) {
    char* to = memory_.data() + size_;
    const TokenTexts::Text* texts = texts_.data();
    const uint32_t known = texts_.size();
    for (size_t i = 0; i < count; ++i) {
      const uint32_t id = ids[i];
      if (id >= known) continue;
      const size_t length = texts[id].length;
      std::memcpy(to, texts + id, TokenTexts::block);
      if (length <= TokenTexts::most) {
        to += length;
        continue;
      }
      size_ = static_cast<size_t>(to - memory_.data());
      put(texts_.table().bytes(id), count - i);
      to = memory_.data() + size_;
    }
    size_ = static_cast<size_t>(to - memory_.data());
  }

  // Writes `text`, and keeps room for `ids_left` ids, including this one.
  void put(std::string_view text, size_t ids_left) {
    memory_.reserve(size_ + text.size() + (ids_left + 1) * TokenTexts::block);
    std::memcpy(memory_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  std::string_view view() const { return {memory_.data(), size_}; }

 private:
  const TokenTexts& texts_;
  RawBuffer<char>& memory_;
  size_t size_ = 0;
};

std::string_view keep(std::string_view text, RawBuffer<char>& memory) {
  memory.reserve(text.size() + 1);
  std::memcpy(memory.data(), text.data(), text.size());
  return {memory.data(), text.size()};
}

}  // namespace

std::string decode(
    const std::shared_ptr<const TokenizerModel>& model, const uint32_t* ids, size_t count, bool skip_special) {
  RawBuffer<char> memory;
  return std::string(decode(*model, ids, count, skip_special, memory));
}

std::string_view decode(
    const TokenizerModel& model, const uint32_t* ids, size_t count, bool skip_special, RawBuffer<char>& memory) {
  if (model.decode_kind == DecodeKind::steps) return keep(decode_in_steps(model, ids, count, skip_special), memory);
  const TokenTexts& texts = model.token_texts();
  const bool falls_back = model.decode_kind == DecodeKind::byte_fallback;
  Writer out(texts, memory, count);
  std::string run;  // current run of byte tokens
  const auto end_run = [&](size_t ids_left) {
    if (run.empty()) return;
    if (!utf::is_well_formed(run)) {  // one U+FFFD per byte token, like Hugging Face's ByteFallback
      const size_t size = run.size();
      run.clear();
      for (size_t i = 0; i < size; ++i) run += replacement;
    }
    out.put(run, ids_left);
    run.clear();
  };
  const int16_t* const byte_values = model.byte_values.data();
  const size_t byte_ids = model.byte_values.size();
  const bool plain = !falls_back && !skip_special;
  if (plain) out.put_all(ids, count);
  for (size_t i = plain ? count : 0; i < count; ++i) {
    const uint32_t id = ids[i];
    if (id >= texts.size() || (skip_special && model.is_special[id])) continue;
    if (falls_back) {
      if (id < byte_ids && byte_values[id] >= 0) {
        run += static_cast<char>(byte_values[id]);
        continue;
      }
      end_run(count - i);
    }
    out.put(id, count - i);
  }
  end_run(0);
  std::string_view text = out.view();
  if (falls_back) {
    if (model.strip_first_space && !text.empty() && text[0] == ' ') text.remove_prefix(1);
    return text;
  }
  if (utf::is_well_formed(text)) return text;
  std::string mended;
  utf::append_lossy(text, mended);
  return keep(mended, memory);
}

}  // namespace heddle
