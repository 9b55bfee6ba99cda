// Decoder steps behind one that joins all tokens (ByteLevel, Fuse): their only token is the whole text, which arrives in parts.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/decode/decoder_stage.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/step_spec.h"

namespace heddle {

// One step may be several stages, or none.
std::vector<std::unique_ptr<DecoderStage>> make_text_stages(const StepSpec& spec);

// `text` with `content` in place of each match, of which `matches` receives the number. `budget`: of the text.
std::string replace_matches(const Regex& regex, const std::string& text, const std::string& content, size_t& matches, RegexBudget& budget);

}  // namespace heddle
