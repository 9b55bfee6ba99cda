// Finds the substrings that Unigram training starts with, by a suffix array of the corpus.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "tokenizer/models/unigram_lattice.h"
#include "tokenizer/text/utf.h"

namespace heddle {

UnigramCorpus to_characters(const WordCounts& words, const std::vector<uint32_t>& alphabet) {
  std::vector<uint32_t> known(alphabet);
  std::sort(known.begin(), known.end());
  UnigramCorpus corpus;
  for (const WordCounts::Word& word : words.words()) {
    size_t from = corpus.characters.size();
    const auto close = [&] {
      if (corpus.characters.size() > from) {
        const auto length = static_cast<uint32_t>(corpus.characters.size() - from);
        corpus.words.push_back({static_cast<uint32_t>(from), length, word.count});
      }
      from = corpus.characters.size();
    };
    const char* p = words.bytes().data() + word.begin;
    for (const char* end = p + word.length; p < end;) {
      int size = 0;
      const uint32_t code = utf::decode(p, size);
      if (std::binary_search(known.begin(), known.end(), code)) corpus.characters.push_back(code);
      else close();
      p += size;
    }
    close();
  }
  return corpus;
}

void Occurrences::keep(const std::vector<uint32_t>& renumbered) {
  size_t to = 0;
  size_t from = 0;
  for (size_t position = 0; position + 1 < begin.size(); ++position) {
    const size_t end = begin[position + 1];
    begin[position] = to;
    for (; from < end; ++from) {
      const uint32_t number = renumbered[piece[from]];
      if (number == UINT32_MAX) continue;
      piece[to] = number;
      length[to++] = length[from];
    }
  }
  begin.back() = to;
  piece.resize(to);
  length.resize(to);
}

namespace {

// A substring that occurs at suffixes[first, last).
struct Substring {
  uint32_t first, last, length;
  uint64_t weight;  // count × length
};

}  // namespace

std::vector<Piece> seed_pieces(const UnigramCorpus& corpus, const std::vector<uint32_t>& alphabet,
    const UnigramOptions& options, Occurrences& occurrences) {
  const auto size = static_cast<uint32_t>(corpus.characters.size());
  const uint32_t* text = corpus.characters.data();
  std::vector<uint16_t> reach(size);  // characters to the end of the word, at most max_piece_length
  std::vector<uint64_t> count(size);  // count of the word
  for (const UnigramCorpus::Word& word : corpus.words) {
    for (uint32_t i = 0; i < word.length; ++i) {
      reach[word.begin + i] = static_cast<uint16_t>(std::min(word.length - i, options.max_piece_length));
      count[word.begin + i] = word.count;
    }
  }
  std::vector<uint32_t> suffixes(size);
  std::iota(suffixes.begin(), suffixes.end(), 0);
  std::sort(suffixes.begin(), suffixes.end(), [&](uint32_t a, uint32_t b) {
    const uint32_t common = std::min(reach[a], reach[b]);
    for (uint32_t i = 0; i < common; ++i) {
      if (text[a + i] != text[b + i]) return text[a + i] < text[b + i];
    }
    return reach[a] != reach[b] ? reach[a] < reach[b] : a < b;
  });
  options.cancellation.check();

  // Finds the repeated substrings as intervals of suffixes with a common prefix. `open` is a stack of the prefixes
  // whose intervals may still grow, shortest first (the lcp-intervals of Abouelhoda et al. 2004).
  std::vector<uint64_t> sums(size + 1, 0);
  for (uint32_t i = 0; i < size; ++i) sums[i + 1] = sums[i] + count[suffixes[i]];
  std::vector<Substring> found;
  std::vector<std::pair<uint32_t, uint32_t>> open;  // length, first
  for (uint32_t i = 1; i <= size; ++i) {
    uint32_t common = 0;
    if (i < size) {
      const uint32_t a = suffixes[i - 1];
      const uint32_t b = suffixes[i];
      const uint32_t most = std::min(reach[a], reach[b]);
      while (common < most && text[a + common] == text[b + common]) ++common;
    }
    uint32_t first = i - 1;
    while (!open.empty() && open.back().first > common) {
      const auto [length, begin] = open.back();
      open.pop_back();
      first = begin;
      const uint64_t times = sums[i] - sums[begin];
      if (length >= 2) found.push_back({begin, i, length, times * length});
    }
    if (common > 0 && (open.empty() || open.back().first < common)) open.emplace_back(common, first);
  }
  // The corpus stores each word once, with its count. If the count is above 1, a substring at a single position is
  // repeated too. Of these, only the longest at each position becomes a seed.
  for (uint32_t i = 0; i < size; ++i) {
    const uint32_t s = suffixes[i];
    if (count[s] < 2 || reach[s] < 2) continue;
    const auto shared = [&](uint32_t other) {
      const uint32_t most = std::min(reach[s], reach[other]);
      uint32_t common = 0;
      while (common < most && text[s + common] == text[other + common]) ++common;
      return common;
    };
    const bool seen =
        (i > 0 && shared(suffixes[i - 1]) == reach[s]) || (i + 1 < size && shared(suffixes[i + 1]) == reach[s]);
    if (!seen) found.push_back({i, i + 1, reach[s], count[s] * reach[s]});
  }
  const auto better = [&](const Substring& a, const Substring& b) {
    if (a.weight != b.weight) return a.weight > b.weight;
    if (a.first != b.first) return a.first < b.first;  // the lexicographically smaller one
    return a.length < b.length;
  };
  if (found.size() > options.seeds) {
    std::nth_element(found.begin(), found.begin() + options.seeds, found.end(), better);
    found.resize(options.seeds);
  }
  std::sort(found.begin(), found.end(), better);

  std::vector<Piece> pieces;
  std::unordered_map<uint32_t, uint32_t> single;
  std::vector<double> weight(alphabet.size(), 0);
  for (const uint32_t code : alphabet) {
    single.emplace(code, static_cast<uint32_t>(pieces.size()));
    pieces.push_back({{code}, 0});
  }
  for (uint32_t i = 0; i < size; ++i) weight[single.at(text[i])] += static_cast<double>(count[i]);
  for (const Substring& s : found) {
    const uint32_t* begin = text + suffixes[s.first];
    pieces.push_back({{begin, begin + s.length}, 0});
    weight.push_back(static_cast<double>(s.weight));
  }
  const double total = std::log(std::accumulate(weight.begin(), weight.end(), 0.0));
  for (size_t i = 0; i < pieces.size(); ++i) pieces[i].score = std::log(std::max(weight[i], 1e-9)) - total;

  occurrences.begin.assign(size + 1, 0);
  for (uint32_t i = 0; i < size; ++i) occurrences.begin[i + 1] = 1;
  for (const Substring& s : found) {
    for (uint32_t i = s.first; i < s.last; ++i) ++occurrences.begin[suffixes[i] + 1];
  }
  for (uint32_t i = 0; i < size; ++i) occurrences.begin[i + 1] += occurrences.begin[i];
  occurrences.piece.resize(occurrences.begin[size]);
  occurrences.length.resize(occurrences.begin[size]);
  std::vector<size_t> next(occurrences.begin.begin(), occurrences.begin.end() - 1);
  const auto place = [&](uint32_t position, uint32_t number, uint32_t length) {
    occurrences.piece[next[position]] = number;
    occurrences.length[next[position]++] = static_cast<uint16_t>(length);
  };
  for (uint32_t i = 0; i < size; ++i) place(i, single.at(text[i]), 1);
  std::vector<uint32_t> by_length(found.size());
  std::iota(by_length.begin(), by_length.end(), 0);
  std::stable_sort(
      by_length.begin(), by_length.end(), [&](uint32_t a, uint32_t b) { return found[a].length < found[b].length; });
  for (const uint32_t k : by_length) {
    const auto number = static_cast<uint32_t>(alphabet.size() + k);
    for (uint32_t i = found[k].first; i < found[k].last; ++i) place(suffixes[i], number, found[k].length);
  }
  return pieces;
}

}  // namespace heddle
