#include "tokenizer/text/utf.h"

#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace heddle::utf {
namespace {

// Copies leading ASCII from UTF-16 to bytes, sixteen or four units at a time. Returns the number of units copied.
size_t copy_ascii(const char16_t* in, size_t length, char* out) {
  size_t i = 0;
#if defined(__SSE2__)
  const __m128i high = _mm_set1_epi16(static_cast<int16_t>(0xFF80));
  for (; i + 16 <= length; i += 16) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i + 8));
    const __m128i bad = _mm_and_si128(_mm_or_si128(a, b), high);
    if (_mm_movemask_epi8(_mm_cmpeq_epi16(bad, _mm_setzero_si128())) != 0xFFFF) break;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm_packus_epi16(a, b));
  }
#else
  for (; i + 4 <= length; i += 4) {
    uint64_t four;
    std::memcpy(&four, in + i, 8);
    if (four & 0xFF80FF80FF80FF80ULL) break;
    for (int k = 0; k < 4; ++k) out[i + k] = static_cast<char>(in[i + k]);
  }
#endif
  for (; i < length && in[i] < 0x80; ++i) out[i] = static_cast<char>(in[i]);
  return i;
}

inline bool in_range(char byte, int low, int high) {
  const int b = static_cast<uint8_t>(byte);
  return b >= low && b <= high;
}

}  // namespace

size_t ascii_length(std::string_view bytes) {
  size_t i = 0;
#if defined(__SSE2__)
  for (; i + 16 <= bytes.size(); i += 16) {
    const int high = _mm_movemask_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + i)));
    if (high != 0) return i + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(high)));
  }
#else
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t eight;
    std::memcpy(&eight, bytes.data() + i, 8);
    if (eight & 0x8080808080808080ULL) break;
  }
#endif
  while (i < bytes.size() && static_cast<uint8_t>(bytes[i]) < 0x80) ++i;
  return i;
}

size_t to_utf16(std::string_view bytes, char16_t* out) {
  char16_t* to = out;
  for (size_t i = 0; i < bytes.size();) {
    const size_t stop = i + ascii_length(bytes.substr(i));
#if defined(__SSE2__)
    for (; i + 16 <= stop; i += 16, to += 16) {
      const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + i));
      const __m128i zero = _mm_setzero_si128();
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi8(block, zero));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm_unpackhi_epi8(block, zero));
    }
#endif
    for (; i < stop; ++i) *to++ = static_cast<uint8_t>(bytes[i]);
    while (i < bytes.size() && static_cast<uint8_t>(bytes[i]) >= 0x80) {
      int size = 0;
      uint32_t code = decode(bytes.data() + i, size);
      i += static_cast<size_t>(size);
      if (code >= 0x10000) {
        code -= 0x10000;
        *to++ = static_cast<char16_t>(0xD800 + (code >> 10));
        code = 0xDC00 + (code & 0x3FF);
      }
      *to++ = static_cast<char16_t>(code);
    }
  }
  return static_cast<size_t>(to - out);
}

size_t to_utf8(const char16_t* in, size_t length, char* out) {
  char* to = out;
  size_t i = 0;
  while (i < length) {
    const size_t ascii = copy_ascii(in + i, length - i, to);
    i += ascii;
    to += ascii;
    while (i < length && in[i] >= 0x80) {
      uint32_t code = in[i++];
      if (code < 0x800) {
        *to++ = static_cast<char>(0xC0 | code >> 6);
        *to++ = static_cast<char>(0x80 | (code & 0x3F));
        continue;
      }
      if ((code & 0xF800) == 0xD800) {
        if (code < 0xDC00 && i < length && (in[i] & 0xFC00) == 0xDC00) {
          code = 0x10000 + ((code - 0xD800) << 10) + (in[i++] - 0xDC00u);
          *to++ = static_cast<char>(0xF0 | code >> 18);
          *to++ = static_cast<char>(0x80 | (code >> 12 & 0x3F));
          *to++ = static_cast<char>(0x80 | (code >> 6 & 0x3F));
          *to++ = static_cast<char>(0x80 | (code & 0x3F));
          continue;
        }
        code = 0xFFFD;
      }
      *to++ = static_cast<char>(0xE0 | code >> 12);
      *to++ = static_cast<char>(0x80 | (code >> 6 & 0x3F));
      *to++ = static_cast<char>(0x80 | (code & 0x3F));
    }
  }
  return static_cast<size_t>(to - out);
}

void append_utf8(const char16_t* in, size_t length, std::string& out) {
  const size_t before = out.size();
  out.resize(before + 3 * length);
  out.resize(before + to_utf8(in, length, &out[before]));
}

OffsetMap::OffsetMap(std::string_view text, bool in_bytes) {
  size_t i = 0;
  while (i < text.size() && static_cast<uint8_t>(text[i]) < 0x80) ++i;
  if (i == text.size()) return;
  start_.resize(text.size() + 1);
  uint32_t at = 0;
  for (i = 0; i < text.size();) {
    const int size = sequence_length(text[i]);
    for (int k = 0; k < size; ++k) start_[i + k] = at;
    at += in_bytes ? static_cast<uint32_t>(size) : size == 4 ? 2 : 1;
    i += size;
  }
  start_[text.size()] = at;
}

int character_length(const char* bytes, size_t length, int& skip) {
  const auto lead = static_cast<uint8_t>(bytes[0]);
  skip = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const int size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and code points above U+10FFFF.
  const int low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const int high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (length < 2 || !in_range(bytes[1], low, high)) return 0;
  for (int i = 2; i < size; ++i) {
    if (static_cast<size_t>(i) >= length || !in_range(bytes[i], 0x80, 0xBF)) {
      skip = i;
      return 0;
    }
  }
  return size;
}

bool is_well_formed(std::string_view bytes) {
  int skip = 0;
  for (size_t i = 0; i < bytes.size();) {
    i += ascii_length(bytes.substr(i));
    if (i == bytes.size()) break;
    const int size = character_length(bytes.data() + i, bytes.size() - i, skip);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

size_t utf16_length(std::string_view bytes) {
  size_t units = 0;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    units += ((byte & 0xC0) != 0x80) + (byte >= 0xF0);
  }
  return units;
}

void append_lossy(std::string_view bytes, std::string& out) {
  size_t good = 0;  // start of the well-formed part that is not copied yet
  size_t i = 0;
  while (i < bytes.size()) {
    if (static_cast<uint8_t>(bytes[i]) < 0x80) {
      ++i;
      continue;
    }
    int skip = 0;
    const int size = character_length(bytes.data() + i, bytes.size() - i, skip);
    if (size != 0) {
      i += size;
      continue;
    }
    out.append(bytes, good, i - good);
    out += "\xEF\xBF\xBD";
    i += skip;
    good = i;
  }
  out.append(bytes, good, bytes.size() - good);
}

size_t incomplete_tail(std::string_view bytes) {
  const size_t most = bytes.size() < 3 ? bytes.size() : 3;
  for (size_t back = 1; back <= most; ++back) {
    const char* start = bytes.data() + bytes.size() - back;
    const auto lead = static_cast<uint8_t>(*start);
    if ((lead & 0xC0) == 0x80) continue;
    if (lead < 0xC2 || lead > 0xF4 || static_cast<size_t>(sequence_length(*start)) <= back) return 0;
    int skip = 0;
    character_length(start, back, skip);
    return static_cast<size_t>(skip) == back ? back : 0;
  }
  return 0;
}

}  // namespace heddle::utf
