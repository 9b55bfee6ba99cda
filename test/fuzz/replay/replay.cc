// Runs a fuzz target on every input of its corpus. Does not need libFuzzer, so that any compiler can build it (npm run
// test:asan).
//
//   replay_NAME CORPUS    CORPUS is a file with one input per line, in base64, such as test/fuzz/corpus/NAME.txt
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// Returns the value of a base64 digit, or -1.
int digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// Decodes base64. Returns false if a character is not in the alphabet.
bool decode(const std::string& line, std::vector<uint8_t>& bytes) {
  bytes.clear();
  unsigned value = 0;
  int bits = 0;
  for (const char c : line.substr(0, line.find('='))) {
    if (digit(c) < 0) return false;
    value = value << 6 | static_cast<unsigned>(digit(c));
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<uint8_t>(value >> bits));
    value &= (1u << bits) - 1;
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  std::ifstream corpus(count == 2 ? arguments[1] : "");
  std::string line;
  std::vector<uint8_t> bytes;
  int inputs = 0;
  LLVMFuzzerTestOneInput(bytes.data(), 0);  // libFuzzer begins with the empty input too
  while (std::getline(corpus, line)) {
    ++inputs;
    if (!decode(line, bytes)) {
      std::fprintf(stderr, "%s: line %d is not base64\n", arguments[1], inputs);
      return 1;
    }
    // A failure ends the process, so the last number that is printed is that of the failing input.
    std::fprintf(stderr, "input %d\n", inputs);
    // Copies the input to memory of exactly its size, so that AddressSanitizer detects reads beyond it.
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), exact.get());
    LLVMFuzzerTestOneInput(exact.get(), bytes.size());
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}
