// One model a vocabulary and process: worker threads that load the same files share its tables.
#pragma once
#include <memory>

#include "tokenizer/models/model_builder.h"

namespace heddle {

// As build_tokenizer; the model of an equal specification where one is alive. Any thread may ask.
std::shared_ptr<const TokenizerModel> shared_tokenizer(const TokenizerSpec& spec);

}  // namespace heddle
