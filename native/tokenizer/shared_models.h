// Shares one model per vocabulary in the process: worker threads that load the same files share its tables.
#pragma once
#include <memory>

#include "tokenizer/models/model_builder.h"

namespace heddle {

// Like build_tokenizer, but returns the model of an equal specification if one is alive. Thread-safe.
std::shared_ptr<const TokenizerModel> shared_tokenizer(const TokenizerSpec& spec);

}  // namespace heddle
