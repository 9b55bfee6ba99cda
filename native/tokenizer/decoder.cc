#include "tokenizer/decoder.h"

#include <cstring>

#include "tokenizer/regex.h"
#include "tokenizer/utf.h"

namespace heddle {

Decoder::Decoder(std::shared_ptr<const TokenizerModel> model, bool skip_special, bool continuing)
    : model_(std::move(model)),
      skip_special_(skip_special),
      at_start_(!continuing && model_->strip_first_space) {}

void Decoder::push(uint32_t id, std::string& out) {
  if (!model_->text().has(id)) return;
  if (skip_special_ && model_->is_special[id]) return;
  const std::string_view text = model_->text().bytes(id);
  if (model_->decode_kind == DecodeKind::byte_fallback) {
    const int16_t byte = model_->byte_value[id];
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

void Decoder::flush(std::string& out) {
  flush_bytes(out);
  at_start_ = false;
}

// Byte tokens decode as a whole or, each of them, to U+FFFD: Hugging Face's ByteFallback decoder.
void Decoder::flush_bytes(std::string& out) {
  if (pending_.empty()) return;
  std::string bytes;
  bytes.swap(pending_);
  if (model_->decode_kind == DecodeKind::bytes) return utf::append_lossy(bytes, out);
  if (utf::is_well_formed(bytes)) return push_text(bytes, out);
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) text += "\xEF\xBF\xBD";
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
  if (model.decode_kind == DecodeKind::steps || !model.text().has(id) || model.is_special[id]) return false;
  if (model.decode_kind == DecodeKind::byte_fallback && model.byte_value[id] >= 0) return false;
  text = model.text().bytes(id);
  return utf::is_well_formed(text);
}

namespace {

std::string decode_in_steps(const TokenizerModel& model, const uint32_t* ids, size_t count, bool skip_special) {
  std::vector<std::string> tokens;
  tokens.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t id = ids[i];
    if (!model.names.has(id) || (skip_special && model.is_special[id])) continue;
    if (model.joins_with_space && !tokens.empty()) tokens.emplace_back(" ");
    tokens.emplace_back(model.names.bytes(id));
  }
  // A few steps that each write a little more than they read would make gigabytes of a word.
  size_t bytes = 0;
  for (const std::string& token : tokens) bytes += token.size();
  RegexBudget budget(bytes);
  for (const auto& step : model.decoder_steps) step->run(tokens, 32 * bytes + (1 << 14), budget);
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

// Writes the texts of ids one after the other.
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
      put(texts_.vocab().bytes(id), ids_left);
    }
  }
  // The texts of all; ids that there are none of add nothing. What is written may alias nothing that is read here, so the end
  // stays in a register.
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
      put(texts_.vocab().bytes(id), count - i);
      to = memory_.data() + size_;
    }
    size_ = static_cast<size_t>(to - memory_.data());
  }

  // `ids_left`, this one included, keep their room.
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

std::string decode(const std::shared_ptr<const TokenizerModel>& model, const uint32_t* ids, size_t count,
                   bool skip_special) {
  RawBuffer<char> memory;
  return std::string(decode(*model, ids, count, skip_special, memory));
}

std::string_view decode(const TokenizerModel& model, const uint32_t* ids, size_t count, bool skip_special,
                        RawBuffer<char>& memory) {
  if (model.decode_kind == DecodeKind::steps) return keep(decode_in_steps(model, ids, count, skip_special), memory);
  const TokenTexts& texts = model.token_texts();
  const bool falls_back = model.decode_kind == DecodeKind::byte_fallback;
  Writer out(texts, memory, count);
  std::string run;  // of byte tokens
  const auto end_run = [&](size_t ids_left) {
    if (run.empty()) return;
    if (!utf::is_well_formed(run)) {  // each of them, as Hugging Face's ByteFallback has it
      const size_t size = run.size();
      run.clear();
      for (size_t i = 0; i < size; ++i) run += "\xEF\xBF\xBD";
    }
    out.put(run, ids_left);
    run.clear();
  };
  const bool plain = !falls_back && !skip_special;
  if (plain) out.put_all(ids, count);
  for (size_t i = plain ? count : 0; i < count; ++i) {
    const uint32_t id = ids[i];
    if (id >= texts.size() || (skip_special && model.is_special[id])) continue;
    if (falls_back) {
      if (model.byte_value[id] >= 0) {
        run += static_cast<char>(model.byte_value[id]);
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
