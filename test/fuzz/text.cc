// Text conversions, pre-tokenization and vocabulary training on arbitrary UTF-16 and bytes.
#include <map>

#include "core/cancellation.h"
#include "fuzz.h"
#include "tokenizer/split/split_run.h"
#include "tokenizer/training/trainer.h"
#include "tokenizer/text/utf.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

std::vector<SplitStage> stages(Input& in) {
  std::vector<SplitStage> list;
  for (int i = in.ConsumeIntegralInRange<int>(0, 3); i > 0; --i)
    list.push_back({static_cast<SplitKind>(in.ConsumeIntegralInRange<int>(0, 8)),
        in.ConsumeIntegralInRange<uint8_t>(0, 4), in.ConsumeBool()});
  return list;
}

// Checks the decoding of arbitrary bytes as UTF-8.
void lossy(const std::string& bytes) {
  std::string text;
  utf::append_lossy(bytes, text);
  require(utf::is_well_formed(text), "decoding any bytes gives well-formed text");
  require(!utf::is_well_formed(bytes) || text == bytes, "decoding leaves well-formed text unchanged");
  const size_t tail = utf::incomplete_tail(bytes);
  require(tail <= 3 && tail <= bytes.size(), "at most three bytes of a partial character are held back");
  std::string head;
  utf::append_lossy(std::string_view(bytes).substr(0, bytes.size() - tail), head);
  require(text.compare(0, head.size(), head) == 0, "text that is emitted early is a prefix of the whole");
}

// Converts arbitrary UTF-16 to UTF-8, and checks the result and the map of offsets.
std::string wide(const std::u16string& units) {
  std::string text;
  utf::append_utf8(units.data(), units.size(), text);
  require(utf::is_well_formed(text), "UTF-16 with lone surrogates becomes well-formed UTF-8");
  const utf::OffsetMap map(text, false);
  require(map.start(text.size()) == units.size(), "offsets end at the text's end");
  for (size_t i = 0; i < text.size(); ++i)
    require(map.start(i) < map.end(i) && map.end(i) <= units.size(), "every character has at least one unit");
  return text;
}

// Trains a vocabulary. Checks that each merge joins existing tokens, and that each new token occurs in the text.
void train(Input& in, const std::string& text) {
  WordCounts* words = nullptr;
  std::unique_ptr<WordCounts> owner;
  const std::vector<SplitStage> how = stages(in);
  std::vector<std::string> specials;
  if (in.ConsumeBool()) specials.push_back(text.empty() ? "<s>" : wide(u"<s>"));
  if (!accepts([&] {
    owner = std::make_unique<WordCounts>(how, specials);
    owner->add_text(text, Cancellation());
  }))
    return;
  words = owner.get();
  TrainOptions options;
  options.tokens = in.ConsumeIntegralInRange<uint32_t>(0, 60),
  options.min_count = in.ConsumeIntegralInRange<uint64_t>(0, 3);
  std::vector<TrainedMerge> merges;
  require(accepts([&] { merges = train_bpe(*words, options); }), "training accepts any words");
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.push_back(std::string(1, static_cast<char>(b)));
  for (const TrainedMerge& m : merges) {
    require(
        m.left < tokens.size() && m.right < tokens.size() && m.token <= tokens.size(), "a merge joins existing tokens");
    const std::string joined = tokens[m.left] + tokens[m.right];
    if (m.token == tokens.size()) tokens.push_back(joined);
    require(tokens[m.token] == joined, "a token is the concatenation of its parts");
    require(text.find(joined) != std::string::npos, "a token occurs in the text");
  }
  require(tokens.size() <= 256 + options.tokens, "training adds at most the requested number of tokens");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const std::vector<SplitStage> how = stages(in);
  const bool training = in.ConsumeIntegralInRange<int>(0, 7) == 0;
  const std::string options = in.ConsumeBytesAsString(8), bytes = in.ConsumeRemainingBytesAsString();
  lossy(bytes);
  std::u16string units(bytes.size() / 2, u'\0');
  if (!units.empty()) std::memcpy(&units[0], bytes.data(), 2 * units.size());
  std::string text;
  if (bytes.size() % 2) utf::append_lossy(bytes, text);
  else text = wide(units);

  accepts([&] {
    const Splitter splitter(how);
    const char* at = text.data();
    splitter.run(text.data(), text.data() + text.size(), [&](const char* begin, const char* end) {
      require(begin == at && (end > begin || text.empty()), "pieces follow one another and none is empty");
      at = end;
      require(utf::is_well_formed(std::string_view(begin, static_cast<size_t>(end - begin))), "no character is cut");
    });
    require(at == text.data() + text.size(), "pieces add up to the text");
  });
  Input more(reinterpret_cast<const uint8_t*>(options.data()), options.size());
  if (training) train(more, text);
  return 0;
}
