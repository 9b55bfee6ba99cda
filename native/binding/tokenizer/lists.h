// Lists of strings in native memory, and vocabularies built from them (NativeStringList in lib/binding/tokenizer.ts).
#pragma once
#include <napi.h>

#include "tokenizer/vocabulary/listed_vocabulary.h"

namespace heddle {

ListedVocabulary to_listed_vocabulary(const Napi::Value& value);

}  // namespace heddle
