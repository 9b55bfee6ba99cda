#include "simulator/machine/cubin.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "simulator/machine/machine.h"

namespace simulator {
namespace {

constexpr uint32_t symbol_table = 2;                // SHT_SYMTAB
constexpr unsigned char word_format = 4;            // EIFMT_SVAL: a 16-bit size, then the value
constexpr unsigned char register_attribute = 0x2f;  // EIATTR_REGCOUNT: a symbol's index, and its registers
constexpr uint16_t cuda_machine = 190;              // EM_CUDA
constexpr size_t header_bytes = 64, section_bytes = 64, symbol_bytes = 24;

// Reads fields at byte offsets, and checks the bounds.
struct Bytes {
  const unsigned char* data;
  size_t bytes;

  template <class T> T at(uint64_t offset) const {
    if (offset > bytes || bytes - offset < sizeof(T)) throw Failure("cubin: a field beyond its end");
    T value;
    std::memcpy(&value, data + offset, sizeof value);
    return value;
  }
  std::string text(uint64_t offset) const {
    std::string s;
    while (const char c = at<char>(offset++)) s += c;
    return s;
  }
};
struct Section {
  std::string name;
  uint32_t type, link;
  uint64_t offset, bytes;
};

}  // namespace

Cubin read_cubin(const unsigned char* data, size_t bytes) {
  const Bytes file{data, bytes};
  if (bytes < header_bytes ||
      std::memcmp(data,
          "\x7f"
          "ELF\x02",
          5) != 0 ||
      file.at<uint16_t>(18) != cuda_machine)
    throw Failure("cubin: not an ELF file for CUDA");
  Cubin cubin;
  cubin.capability = file.at<uint32_t>(48) >> 8 & 0xff;  // e_flags
  const uint64_t table = file.at<uint64_t>(40);          // e_shoff
  const auto header = [&](uint64_t n) { return table + n * section_bytes; };
  const uint64_t names = file.at<uint64_t>(header(file.at<uint16_t>(62)) + 24);
  std::vector<Section> sections;
  for (uint16_t n = 0; n < file.at<uint16_t>(60); ++n)
    sections.push_back({file.text(names + file.at<uint32_t>(header(n))), file.at<uint32_t>(header(n) + 4),
        file.at<uint32_t>(header(n) + 40), file.at<uint64_t>(header(n) + 24), file.at<uint64_t>(header(n) + 32)});
  const auto symbols =
      std::find_if(sections.begin(), sections.end(), [](const Section& s) { return s.type == symbol_table; });
  const auto info =
      std::find_if(sections.begin(), sections.end(), [](const Section& s) { return s.name == ".nv.info"; });
  if (symbols == sections.end() || info == sections.end()) throw Failure("cubin: expected symbols and .nv.info");
  const uint64_t strings = sections.at(symbols->link).offset;
  for (uint64_t at = info->offset; at < info->offset + info->bytes;) {
    const auto format = file.at<unsigned char>(at), attribute = file.at<unsigned char>(at + 1);
    const auto size = file.at<uint16_t>(at + 2);  // or the value itself, if its format is another
    if (format == word_format && attribute == register_attribute) {
      const uint64_t symbol = symbols->offset + file.at<uint32_t>(at + 4) * symbol_bytes;
      cubin.registers[file.text(strings + file.at<uint32_t>(symbol))] = static_cast<int>(file.at<uint32_t>(at + 8));
    }
    at += 4 + (format == word_format ? size : 0);
  }
  return cubin;
}

int registers_of_block(int registers, uint64_t threads) {
  const auto warps = (threads + lanes - 1) / lanes;
  return static_cast<int>(warps) * ((registers + 7) / 8 * 8) * lanes;
}

}  // namespace simulator
