// Decoder steps after a step that joins all tokens (ByteLevel, Fuse). Their input is one token, the whole text, which
// arrives in parts.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/decode/decoder_stage.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/step_spec.h"

namespace heddle {

// Returns the stages of a step: one, several or none.
std::vector<std::unique_ptr<DecoderStage>> make_text_stages(const StepSpec& spec);

// Replaces each match in `text` by `content`. `matches` receives the number of matches.
std::string replace_matches(
    const Regex& regex, const std::string& text, const std::string& content, size_t& matches, RegexBudget& budget);

}  // namespace heddle
