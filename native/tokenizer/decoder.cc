#include "tokenizer/decoder.h"

#include "tokenizer/utf.h"

namespace heddle {

Decoder::Decoder(std::shared_ptr<const TokenizerModel> model, bool skip_special, bool continuing)
    : model_(std::move(model)),
      skip_special_(skip_special),
      at_start_(!continuing && model_->strip_first_space) {}

void Decoder::push(uint32_t id, std::string& out) {
  if (!model_->text.has(id)) return;
  if (skip_special_ && model_->is_special[id]) return;
  const std::string_view text = model_->text.bytes(id);
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

std::string decode(const std::shared_ptr<const TokenizerModel>& model, const uint32_t* ids, size_t count,
                   bool skip_special) {
  std::string out;
  if (model->decode_kind == DecodeKind::steps) {
    std::vector<std::string> tokens;
    tokens.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      const uint32_t id = ids[i];
      if (!model->names.has(id) || (skip_special && model->is_special[id])) continue;
      if (model->joins_with_space && !tokens.empty()) tokens.emplace_back(" ");
      tokens.emplace_back(model->names.bytes(id));
    }
    for (const auto& step : model->decoder_steps) step->run(tokens);
    for (const std::string& token : tokens) out += token;
    return out;
  }
  if (model->decode_kind == DecodeKind::bytes) {
    std::string bytes;
    bytes.reserve(4 * count);
    for (size_t i = 0; i < count; ++i) {
      const uint32_t id = ids[i];
      if (!model->text.has(id) || (skip_special && model->is_special[id])) continue;
      bytes.append(model->text.bytes(id));
    }
    if (utf::is_well_formed(bytes)) return bytes;
    utf::append_lossy(bytes, out);
    return out;
  }
  Decoder decoder(model, skip_special, false);
  out.reserve(4 * count);
  for (size_t i = 0; i < count; ++i) decoder.push(ids[i], out);
  decoder.flush(out);
  return out;
}

}  // namespace heddle
