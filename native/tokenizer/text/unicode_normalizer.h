// NFC, NFD, NFKC and NFKD of a NormalizedText. The origins of its bytes stay correct.
#pragma once
#include "tokenizer/text/normalized_text.h"

namespace heddle {

// decompose_text() is NFD, and compose_text() is NFC. With `compatible`, they are NFKD and NFKC.
void decompose_text(NormalizedText& text, bool compatible);
void compose_text(NormalizedText& text, bool compatible);

}  // namespace heddle
