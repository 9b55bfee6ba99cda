// Builds tokenizers with arbitrary vocabularies, merges and options, and encodes arbitrary text. Building may fail with
// a typed error. Ids of byte-level BPE without other options must equal those of a simple merge loop, and decode to the
// text. Decoding all ids at once must equal decoding them one by one.
#include <algorithm>

#include "core/cancellation.h"
#include "fuzz.h"
#include "tokenizer/text/byte_alphabet.h"
#include "tokenizer/decode/decoder.h"
#include "tokenizer/encoder.h"
#include "tokenizer/models/model_builder.h"
#include "tokenizer/split/split_run.h"
#include "tokenizer/text/utf.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

std::u16string units(Input& in, size_t most) {
  const std::string bytes = in.ConsumeBytesAsString(2 * in.ConsumeIntegralInRange<size_t>(0, most));
  std::u16string text(bytes.size() / 2, u'\0');
  for (size_t i = 0; i < text.size(); ++i) {
    const auto high = static_cast<uint8_t>(bytes[2 * i]), low = static_cast<uint8_t>(bytes[2 * i + 1]);
    // Mostly letters and spaces (U+2581 is SentencePiece's mark of a space), so that merges apply. Otherwise any unit,
    // including lone surrogates.
    static const char16_t common[] = {u'a', u'b', u' ', 0x2581, u'a', u'b', u'é', 0x3000};
    text[i] = high < 0xC0 ? common[low % 8] : static_cast<char16_t>(high << 8 | low);
  }
  return text;
}

// Returns the character for a byte in GPT-2's byte-level alphabet: bytes that are not printable become U+0100 and up.
char16_t letter_of(uint32_t byte) {
  if (is_printable_byte(byte)) return static_cast<char16_t>(byte);
  char16_t other = 0x100;
  for (uint32_t b = 0; b < byte; ++b) other = static_cast<char16_t>(other + !is_printable_byte(b));
  return other;
}

// The operands of to_vocabulary_texts.
struct Texts {
  std::u16string tokens, merges;
  std::vector<uint32_t> token_lengths, token_ids, merge_lengths, merge_ranks;
};
// Adds a consistent vocabulary: all bytes or a few characters, and merges of existing tokens.
void add_vocabulary(Input& in, TokenizerSpec& spec, Texts& texts) {
  std::vector<std::u16string> tokens;
  if (spec.byte_level) {
    for (uint32_t byte = 0; byte < 256; ++byte) tokens.push_back(std::u16string(1, letter_of(byte)));
  } else {
    for (const char16_t c : {u'a', u'b', u'c', char16_t{0x2581}, u'\xe9'}) tokens.push_back(std::u16string(1, c));
    if (in.ConsumeBool())
      for (const char16_t* byte :
          {u"<0x61>", u"<0x20>", u"<0xE2>", u"<0x96>", u"<0x81>", u"<0xF0>", u"<0x80>", u"<0xC3>"})
        tokens.push_back(byte);
  }
  const size_t base = tokens.size();
  for (int i = in.ConsumeIntegralInRange<int>(0, 24); i > 0; --i) {
    const auto part = [&] {
      if (spec.byte_level && in.ConsumeBool()) return tokens[in.ConsumeBool() ? 'a' : 'b'];
      // Half of the time, picks one of the last base tokens or a merged one, so that merges build on merges.
      return tokens[in.ConsumeIntegralInRange<size_t>(in.ConsumeBool() ? base - 4 : 0, tokens.size() - 1)];
    };
    const std::u16string left = part(), right = part();
    if (left.size() + right.size() > 60) continue;
    if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end()) tokens.push_back(left + right);
    texts.merges += left + right;
    texts.merge_lengths.push_back(static_cast<uint32_t>(left.size())),
        texts.merge_lengths.push_back(static_cast<uint32_t>(right.size()));
  }
  if (in.ConsumeBool())
    for (size_t i = 0; i < texts.merge_lengths.size() / 2; ++i)
      texts.merge_ranks.push_back(in.ConsumeIntegralInRange<uint32_t>(0, 30));
  for (size_t i = 0; i < tokens.size(); ++i) {
    texts.tokens += tokens[i];
    texts.token_lengths.push_back(static_cast<uint32_t>(tokens[i].size())),
        texts.token_ids.push_back(static_cast<uint32_t>(i));
  }
}

// Adds a vocabulary that may be inconsistent.
void add_anything(Input& in, Texts& texts) {
  texts.tokens = units(in, 40), texts.merges = units(in, 20);
  for (int i = in.ConsumeIntegralInRange<int>(0, 20); i > 0; --i) {
    texts.token_lengths.push_back(in.ConsumeIntegralInRange<int>(0, 20) ? in.ConsumeIntegralInRange<uint32_t>(0, 3)
                                                                        : in.ConsumeIntegral<uint32_t>());
    texts.token_ids.push_back(in.ConsumeIntegralInRange<int>(0, 20) ? in.ConsumeIntegralInRange<uint32_t>(0, 40)
                                                                    : in.ConsumeIntegral<uint32_t>());
  }
  for (int i = in.ConsumeIntegralInRange<int>(0, 10); i > 0; --i)
    texts.merge_lengths.push_back(in.ConsumeIntegralInRange<uint32_t>(0, 3));
}

std::string utf8_of(const std::u16string& text) {
  std::string out;
  utf::append_utf8(text.data(), text.size(), out);
  return out;
}

StepSpec step(Input& in) {
  static const char* const types[] = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Replace",
      "Prepend", "Nmt", "Precompiled", "ByteLevel", "BertNormalizer", "Split", "NativeSplit", "Digits", "Punctuation",
      "Whitespace", "WhitespaceSplit", "BertPreTokenizer", "CharDelimiterSplit", "Metaspace", "UnicodeScripts",
      "FixedLength", "ByteFallback", "Fuse", "WordPiece", "BPEDecoder", "CTC"};
  static const char* const patterns[] = {
      "a+b", "(a+)+b", "[^a\\s]|(?=b)", "(?<=a)b*?", "\\p{L}{2,3}|^", "(?:a|ab)*+c", "(?i:A)$"};
  StepSpec spec;
  spec.type = types[in.ConsumeIntegralInRange<size_t>(0, std::size(types) - 1)];
  spec.is_regex = in.ConsumeBool();
  spec.pattern = in.ConsumeBool()   ? patterns[in.ConsumeIntegralInRange<size_t>(0, std::size(patterns) - 1)]
                 : in.ConsumeBool() ? in.ConsumeBytesAsString(12)
                                    : utf8_of(units(in, 3));
  if (!utf::is_well_formed(spec.pattern) || spec.pattern.empty()) spec.pattern = "a";
  spec.content = in.ConsumeBool() ? "\xE2\x96\x81" : utf8_of(units(in, 2));
  if (spec.content.empty()) spec.content = "#";
  spec.bytes = in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, 40));
  spec.left = in.ConsumeBool(), spec.right = in.ConsumeBool(), spec.clean = in.ConsumeBool(),
  spec.chinese = in.ConsumeBool();
  spec.accents = in.ConsumeBool(), spec.lower = in.ConsumeBool(), spec.invert = in.ConsumeBool(),
  spec.each = in.ConsumeBool();
  spec.prefix = in.ConsumeBool(), spec.cuts = in.ConsumeBool();
  spec.number = in.ConsumeIntegralInRange<uint32_t>(0, 4), spec.max_digits = in.ConsumeIntegralInRange<uint32_t>(0, 3);
  return spec;
}

TokenizerSpec specification(Input& in) {
  TokenizerSpec spec;
  spec.byte_level = in.ConsumeBool(), spec.ignore_merges = in.ConsumeBool(), spec.byte_fallback = in.ConsumeBool(),
  spec.fuse_unknown = in.ConsumeBool();
  spec.needs_nfc = in.ConsumeIntegralInRange<int>(0, 7) == 0, spec.spaces_to_marks = in.ConsumeBool(),
  spec.strip_first_space = in.ConsumeBool();
  spec.whole_text_is_word = in.ConsumeBool();
  spec.decode_kind = static_cast<DecodeKind>(in.ConsumeIntegralInRange<int>(0, 2));
  spec.kind = in.ConsumeBool() ? ModelKind::bpe : static_cast<ModelKind>(in.ConsumeIntegralInRange<int>(0, 3));
  spec.uses_normalizer = in.ConsumeBool();
  spec.max_word_characters = in.ConsumeIntegralInRange<uint32_t>(0, 9);
  for (auto* steps : {&spec.normalizer, &spec.pre_tokenizer, &spec.decoder})
    for (int i = in.ConsumeIntegralInRange<int>(0, 5) - 2; i > 0; --i) steps->push_back(step(in));
  spec.prefix_rule = static_cast<PrefixRule>(in.ConsumeIntegralInRange<int>(0, 3));
  spec.prefix = in.ConsumeBool() ? u"\x2581" : units(in, 2);
  if (in.ConsumeBool()) spec.unknown = in.ConsumeIntegralInRange<uint32_t>(0, 10);
  for (int i = in.ConsumeIntegralInRange<int>(0, 2); i > 0; --i)
    spec.stages.push_back({static_cast<SplitKind>(in.ConsumeIntegralInRange<int>(0, 9)),
        in.ConsumeIntegralInRange<uint8_t>(0, 3), in.ConsumeBool()});
  Texts texts;
  in.ConsumeIntegralInRange<int>(0, 3) ? add_vocabulary(in, spec, texts) : add_anything(in, texts);
  VocabularyTexts vocabulary =
      to_vocabulary_texts(texts.tokens, texts.token_lengths, texts.token_ids, texts.merges, texts.merge_lengths);
  vocabulary.merge_ranks = texts.merge_ranks;
  if (spec.kind == ModelKind::unigram)
    for (size_t i = 0; i < texts.token_ids.size(); ++i)
      vocabulary.scores.push_back(in.ConsumeIntegralInRange<int>(-9, 2));
  spec.texts = std::make_shared<const VocabularyTexts>(std::move(vocabulary));
  if (spec.kind == ModelKind::wordpiece) spec.subword_prefix = in.ConsumeBool() ? "a" : "";
  for (int i = in.ConsumeIntegralInRange<int>(0, 4); i > 0; --i) {
    SpecAddedToken token;
    token.content = units(in, 4);
    token.id = in.ConsumeIntegralInRange<int>(0, 9) ? in.ConsumeIntegralInRange<uint32_t>(0, 400)
                                                    : in.ConsumeIntegral<uint32_t>();
    token.single_word = in.ConsumeBool(), token.lstrip = in.ConsumeBool(), token.rstrip = in.ConsumeBool();
    token.special = in.ConsumeBool(), token.guarded = in.ConsumeBool(), token.normalized = in.ConsumeBool();
    spec.added.push_back(token);
  }
  if (in.ConsumeBool()) spec.begin_ids.push_back(in.ConsumeIntegral<uint32_t>());
  if (in.ConsumeBool()) spec.end_ids.push_back(1);
  return spec;
}

// BPE by definition: merges the leftmost pair of lowest rank until no pair can be merged.
void merge_plainly(const MergeTable& merges, std::vector<uint32_t>& ids) {
  for (;;) {
    size_t best = ids.size();
    Merge merge{no_token, no_token};
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const Merge m = merges.find(ids[i], ids[i + 1]);
      if (m.rank < merge.rank) merge = m, best = i;
    }
    if (best == ids.size()) return;
    ids[best] = merge.id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::vector<uint32_t> encode_plainly(const TokenizerModel& model, const std::string& text) {
  std::vector<uint32_t> all;
  model.splitter.run(text.data(), text.data() + text.size(), [&](const char* begin, const char* end) {
    std::vector<uint32_t> ids;
    for (const char* p = begin; p < end; ++p) ids.push_back(model.byte_ids[static_cast<uint8_t>(*p)]);
    merge_plainly(model.merges, ids);
    all.insert(all.end(), ids.begin(), ids.end());
  });
  return all;
}

std::string decode_incrementally(
    const std::shared_ptr<const TokenizerModel>& model, const std::vector<uint32_t>& ids, bool skip) {
  Decoder decoder(model, skip);
  std::string text;
  for (const uint32_t id : ids) {
    decoder.push(id, text);
    require(utf::is_well_formed(text), "text that is emitted early is well-formed");
  }
  decoder.flush(text);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  TokenizerSpec spec;
  std::shared_ptr<const TokenizerModel> model;
  if (!accepts([&] { spec = specification(in), model = build_tokenizer(spec); })) return 0;

  std::vector<uint32_t> barriers;
  for (int i = in.ConsumeIntegralInRange<int>(0, 3); i > 0; --i)
    barriers.push_back(in.ConsumeIntegralInRange<int>(0, 9) ? in.ConsumeIntegralInRange<uint32_t>(0, 40)
                                                            : in.ConsumeIntegral<uint32_t>());
  EncodeOptions options;
  options.add_special = in.ConsumeBool(), options.allow_special = in.ConsumeBool();
  const bool skip = in.ConsumeBool();
  std::vector<uint32_t> any;
  for (int i = in.ConsumeIntegralInRange<int>(0, 6); i > 0; --i)
    any.push_back(in.ConsumeIntegral<uint32_t>() >> in.ConsumeIntegralInRange<int>(0, 31));
  const std::u16string text = units(in, 300);

  Encoder encoder(model);
  const auto encode = [&](bool offsets, Encoding& out) {
    options.offsets = offsets;
    // Encoding may fail only if a pattern exceeds its step budget, or if the vocabulary has no unknown token.
    const bool done = accepts([&] { encoder.encode(text.data(), text.size(), options, barriers, out); });
    require(done || spec.kind != ModelKind::bpe || !spec.pre_tokenizer.empty() || spec.uses_normalizer,
        "any text is encoded");
    return done;
  };
  Encoding first, again, placed;
  const bool done = encode(false, first);
  if (!done) return 0;
  require(encode(false, again) && again.ids == first.ids, "cached words give the same ids as uncached ones");
  require(encode(true, placed) && placed.ids == first.ids, "encoding with offsets gives the same ids");
  require(placed.offsets.size() == 2 * placed.ids.size(), "every id has a begin and an end");
  for (size_t i = 0; i < placed.offsets.size(); i += 2)
    require(placed.offsets[i] <= placed.offsets[i + 1] && placed.offsets[i + 1] <= text.size(),
        "offsets lie within the text");

  std::string utf8;
  utf::append_utf8(text.data(), text.size(), utf8);
  const bool all_bytes =
      std::none_of(model->byte_ids, model->byte_ids + 256, [](uint32_t id) { return id == no_token; });
  if (spec.kind == ModelKind::bpe && spec.byte_level && !spec.needs_nfc && !spec.uses_normalizer &&
      spec.pre_tokenizer.empty() && all_bytes && spec.added.empty() && spec.prefix_rule == PrefixRule::never &&
      !spec.spaces_to_marks && !options.add_special) {
    if (!spec.ignore_merges)
      require(encode_plainly(*model, utf8) == std::vector<uint32_t>(first.ids.begin(), first.ids.end()),
          "ids equal those of the plain merge loop");
    if (spec.decode_kind == DecodeKind::bytes)
      require(decode(model, first.ids.data(), first.ids.size(), false) == utf8, "ids decode to the text");
    if (const auto matcher = PairMatcher::build(model->merges, model->vocab, model->byte_ids)) {
      if (!utf8.empty() && matcher->covers(utf8)) {
        std::vector<Symbol> symbols;
        PairMatcher::Scratch scratch;
        matcher->encode(utf8, Cancellation(), scratch, symbols);
        std::vector<uint32_t> expected, got;
        for (const char c : utf8) expected.push_back(model->byte_ids[static_cast<uint8_t>(c)]);
        merge_plainly(model->merges, expected);
        for (const Symbol& s : symbols) got.push_back(s.id);
        require(got == expected, "long pieces get the merges of the plain loop");
      }
    }
  }
  any.insert(any.end(), first.ids.begin(), first.ids.end());
  const std::string whole = decode(model, any.data(), any.size(), skip);
  require(utf::is_well_formed(whole), "decoded text is well-formed");
  if (spec.decode_kind != DecodeKind::steps)
    require(decode_incrementally(model, any, skip) == whole, "decoding one by one equals decoding at once");
  return 0;
}
