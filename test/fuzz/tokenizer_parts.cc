// Tests parts of the tokenizer that the target `tokenizer` rarely reaches: the reader of JSON vocabularies, compiled
// vocabularies, the automaton of added tokens, character maps, offsets of normalized text, and training.
#include <algorithm>

#include "core/cancellation.h"
#include "fuzz.h"
#include "tokenizer/vocabulary/added_tokens.h"
#include "tokenizer/text/charsmap.h"
#include "tokenizer/vocabulary/compiled_vocabulary.h"
#include "tokenizer/vocabulary/file_vocabulary.h"
#include "tokenizer/models/longest_starts.h"
#include "tokenizer/models/model_builder.h"
#include "tokenizer/training/trainer.h"
#include "tokenizer/training/unigram_trainer.h"
#include "tokenizer/text/utf.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

std::string text_of(const std::string& bytes) {
  std::string text;
  utf::append_lossy(bytes, text);
  return text;
}

void json(Input& in) {
  // Half of the time, inserts the bytes into the objects of a valid file, so that they reach the readers of tokens and
  // merges.
  const bool framed = in.ConsumeBool();
  const std::string a = in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, 200)),
                    b = in.ConsumeRemainingBytesAsString();
  const std::string file = framed ? "{\"model\":{\"vocab\":{" + a + "},\"merges\":[" + b + "]},\"x\":1}" : a + b;
  const auto read = read_json_vocabulary(file);
  if (read == nullptr) return;
  const VocabularyTexts& texts = read->texts;
  require(texts.token_lengths.size() == texts.token_ids.size() && texts.merge_lengths.size() % 2 == 0,
      "every token has one length, every merge two");
  size_t at = 0;
  for (size_t i = 0; i < texts.token_ids.size(); ++i) {
    require(texts.token_lengths[i] <= texts.tokens.size() - at, "tokens lie within their text");
    require(read->find(texts.tokens.view().substr(at, texts.token_lengths[i])) == texts.token_ids[i],
        "every token is found");
    at += texts.token_lengths[i];
  }
  require(at == texts.tokens.size() && utf::is_well_formed(texts.tokens.view()), "tokens add up to their text");
  at = 0;
  for (const uint32_t length : texts.merge_lengths) at += length;
  require(at == texts.merges.size() && utf::is_well_formed(texts.merges.view()), "merges add up to their text");

  const std::string compiled = compile_vocabulary(*read, file);
  if (compiled.empty()) return;
  const auto again = read_compiled_vocabulary(compiled, file);
  require(again != nullptr && again->rest == read->rest && again->texts.tokens.view() == texts.tokens.view(),
      "a compiled vocabulary can be read back");
  at = 0;
  for (size_t i = 0; i < texts.merge_lengths.size(); ++i) {
    const std::string_view part = texts.merges.view().substr(at, texts.merge_lengths[i]);
    require(again->token(again->texts.merge_tokens[i / 2 * 3 + i % 2]) == part, "merges equal those of the file");
    at += part.size();
  }
}

// Reads a compiled vocabulary with an arbitrary body and a valid checksum. The reader must reject it, or return a
// vocabulary with which build_tokenizer succeeds or throws a typed error.
void compiled(Input& in) {
  const auto small = [&] { return in.ConsumeIntegralInRange<uint32_t>(0, 12); };
  std::string body;
  const auto put = [&](uint32_t number) { body.append(reinterpret_cast<const char*>(&number), sizeof(number)); };
  const uint32_t tokens = small(), merges = small();
  const std::string text = in.ConsumeBytesAsString(small()), rest = "[" + in.ConsumeBytesAsString(small()) + "]";
  const bool is_wrong = in.ConsumeIntegralInRange<int>(0, 7) == 0;
  for (const uint32_t count :
      {tokens, static_cast<uint32_t>(text.size()), merges, static_cast<uint32_t>(rest.size())}) {
    put(is_wrong ? in.ConsumeIntegral<uint32_t>() : count);
    put(is_wrong ? in.ConsumeIntegral<uint32_t>() : 0);
  }
  for (uint32_t i = 0; i < tokens; ++i) put(in.ConsumeIntegralInRange<uint32_t>(0, 3));
  for (uint32_t i = 0; i < tokens; ++i) put(in.ConsumeBool() ? i : in.ConsumeIntegral<uint32_t>());
  for (uint32_t i = 0; i < 3 * merges; ++i) put(small());
  body += text + rest;
  const auto read = read_compiled_vocabulary(seal_compiled_body(body, rest), rest);
  if (read == nullptr) return;
  TokenizerSpec spec;
  spec.byte_level = in.ConsumeBool();
  spec.texts = std::shared_ptr<const VocabularyTexts>(
      std::shared_ptr<const FileVocabulary>(read.get(), [](const auto*) {}), &read->texts);
  accepts([&] { (void)build_tokenizer(spec); });
}

// Returns a text with only four different characters, so that the contents of tokens share prefixes and suffixes.
std::string letters(Input& in, size_t most) {
  std::string text = in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, most));
  for (char& c : text) c = "aab <"[static_cast<uint8_t>(c) % 5];
  return text;
}

// Compares the automaton of added tokens with a search for each token. Checks that the segments of a split text follow
// one another and add up to it.
void added_tokens(Input& in) {
  std::vector<AddedToken> tokens;
  for (int i = in.ConsumeIntegralInRange<int>(1, 6); i > 0; --i) {
    AddedToken token;
    token.content = letters(in, 9) + "a";
    token.id = static_cast<uint32_t>(i);
    token.guarded = in.ConsumeBool(), token.lstrip = in.ConsumeBool(), token.rstrip = in.ConsumeBool(),
    token.single_word = in.ConsumeBool();
    tokens.push_back(token);
  }
  std::vector<std::string_view> contents;
  for (const AddedToken& token : tokens) contents.push_back(token.content);
  std::vector<size_t> barriers;
  for (int i = in.ConsumeIntegralInRange<int>(0, 3); i > 0; --i)
    barriers.push_back(in.ConsumeIntegralInRange<size_t>(0, 60));
  std::sort(barriers.begin(), barriers.end());
  const std::string text = letters(in, 120);
  std::vector<uint32_t> found;
  LongestStarts(contents).find(text, found);
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t longest = LongestStarts::none;
    for (uint32_t k = 0; k < contents.size(); ++k) {
      if (text.compare(i, contents[k].size(), contents[k]) != 0) continue;
      if (longest == LongestStarts::none || contents[k].size() > contents[longest].size()) longest = k;
    }
    require(found[i] == longest, "the automaton finds the longest content");
  }

  const AddedTokenMatcher matcher(tokens);
  std::vector<TextSegment> segments;
  matcher.split(text, 0, text.size(), true, barriers, segments);
  size_t at = 0;
  for (const TextSegment& segment : segments) {
    require(segment.begin == at && segment.end > at, "segments follow one another and none is empty");
    at = segment.end;
  }
  require(at == text.size(), "segments add up to the text");
}

void charsmap(Input& in) {
  const std::string map = in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, 300));
  const bool longest = in.ConsumeBool();
  const std::string text = text_of(in.ConsumeRemainingBytesAsString());
  accepts([&] {
    const Charsmap made(map);
    NormalizedText normalized;
    normalized.assign(text, 0, true);
    if (longest) made.run_longest(normalized);
    else made.run(normalized);
    require(utf::is_well_formed(normalized.text), "mapped text is well-formed");
    require(normalized.origins.size() == normalized.text.size(), "every byte has its origin");
    for (const Origin& o : normalized.origins)
      require(o.begin <= o.end && o.end <= text.size(), "origins lie within the text");
  });
}

void training(Input& in) {
  AlphabetOptions alphabet;
  alphabet.coverage = in.ConsumeIntegralInRange<int>(0, 10) / 10.0;
  alphabet.limit = in.ConsumeBool() ? in.ConsumeIntegralInRange<uint32_t>(0, 8) : UINT32_MAX;
  alphabet.min_count = in.ConsumeIntegralInRange<uint64_t>(0, 3);
  alphabet.subword_prefix = in.ConsumeBool() ? "##" : "";
  UnigramOptions options;
  options.tokens = in.ConsumeIntegralInRange<uint32_t>(0, 60),
  options.seeds = in.ConsumeIntegralInRange<uint32_t>(0, 80);
  options.max_piece_length = in.ConsumeIntegralInRange<uint32_t>(1, 9),
  options.sub_iterations = in.ConsumeIntegralInRange<uint32_t>(0, 3);
  options.shrinking_factor = in.ConsumeIntegralInRange<int>(1, 9) / 10.0,
  options.threads = in.ConsumeIntegralInRange<size_t>(1, 2);
  options.alphabet = alphabet;
  options.alphabet.subword_prefix.clear();
  const bool unigram = in.ConsumeBool();
  const std::string text = text_of(in.ConsumeRemainingBytesAsString());
  WordCounts words({{SplitKind::gpt2}}, {});
  words.add_text(text, Cancellation());
  words.sort();
  if (unigram) {
    for (const TrainedPiece& piece : train_unigram(words, options)) {
      require(piece.score == piece.score && !piece.text.empty() && utf::is_well_formed(piece.text),
          "pieces have a text and a score that is not NaN");
      require(text.find(piece.text) != std::string::npos, "a piece occurs in the text");
    }
    return;
  }
  SymbolWords symbols = to_symbols(words, alphabet);
  std::vector<std::string> tokens = symbols.alphabet;
  TrainOptions train;
  train.tokens = options.tokens, train.min_count = alphabet.min_count;
  for (const TrainedMerge& merge : train_bpe(symbols, train)) {
    require(merge.left < tokens.size() && merge.right < tokens.size() && merge.token <= tokens.size(),
        "a merge joins existing tokens");
    if (merge.token == tokens.size()) tokens.push_back("");
  }
  require(tokens.size() <= symbols.alphabet.size() + options.tokens,
      "training adds at most the requested number of tokens");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  switch (in.ConsumeIntegralInRange<int>(0, 4)) {
    case 0: json(in); break;
    case 1: added_tokens(in); break;
    case 2: charsmap(in); break;
    case 3: compiled(in); break;
    default: accepts([&] { training(in); });
  }
  return 0;
}
