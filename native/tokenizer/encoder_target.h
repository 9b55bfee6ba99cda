// The output of one call of Encoder::encode.
#pragma once
#include <string>
#include <vector>

#include "tokenizer/encoder.h"
#include "tokenizer/text/utf.h"

namespace heddle {

// Words are pointers into `buffer`: the text itself, or a normalized copy of one of its segments.
struct Encoder::Target {
  // Thrown to stop encoding when a text has more than options.most_ids ids.
  struct Full {};

  Encoding& out;
  const EncodeOptions& options;
  const utf::OffsetMap* map;            // maps bytes of the text to offsets; null if none are wanted
  const std::vector<size_t>& barriers;  // byte positions in the text
  const char* buffer = nullptr;
  const char* readable_end = nullptr;  // end of the buffer, which may be beyond the end of the text
  // For a normalized copy: the byte of the text that each byte comes from, or UINT32_MAX for an inserted byte.
  const std::vector<uint32_t>* sources = nullptr;
  // For text of encoder_general.cc: the origin of each byte. `sources` is then null.
  const std::vector<Origin>* origins = nullptr;
  uint32_t words = 0;
  const size_t before = out.ids.size();  // number of ids of earlier texts in `out`

  // Adds the text offsets of [begin, end) of the buffer.
  void add_offsets(const char* begin, const char* end) {
    size_t first = static_cast<size_t>(begin - buffer);
    size_t last = static_cast<size_t>(end - buffer) - (end > begin ? 1 : 0);
    if (begin == end && first > 0) first = last = first - 1;  // the token is only a suffix that was added
    if (origins != nullptr) {
      out.offsets.push_back(map->start((*origins)[first].begin));
      out.offsets.push_back(map->start((*origins)[last].end));
      return;
    }
    if (sources != nullptr) {
      const bool inserted_only = (*sources)[last] == UINT32_MAX;
      while (first < last && (*sources)[first] == UINT32_MAX) ++first;  // skips a prefix that the text does not have
      if (inserted_only) {
        // Skips the rest of the prefix. The loop ends, because the end of the segment has a source.
        while ((*sources)[last] == UINT32_MAX) ++last;
        const uint32_t at = map->start((*sources)[last]);
        out.offsets.push_back(at);
        out.offsets.push_back(at);
        return;
      }
      first = (*sources)[first];
      last = (*sources)[last];
    }
    out.offsets.push_back(map->start(first));
    out.offsets.push_back(map->end(last));
  }

  void add_token(uint32_t id, size_t text_begin, size_t text_end) {
    out.ids.push_back(id);
    if (map == nullptr) return;
    out.offsets.push_back(map->start(text_begin));
    out.offsets.push_back(map->start(text_end));
  }

  // Adds ids that stand for no text, such as BOS and EOS.
  void add_outside(const std::vector<uint32_t>& ids) {
    out.ids.append(ids.data(), ids.size());
    if (map == nullptr) return;
    for (size_t i = 0; i < 2 * ids.size(); ++i) out.offsets.push_back(0);
  }

  // Calls look() for every 1024th word.
  void check_canceled() {
    if ((++words & 1023) == 0) look();
  }
  // Throws ABORTED if encoding is canceled, and Full if there are too many ids.
  void look() const {
    options.cancellation.check();
    if (out.ids.size() - before > options.most_ids) throw Full();
  }
};

}  // namespace heddle
