#include "tokenizer/hash_secret.h"

#include <chrono>
#include <exception>
#include <random>

namespace heddle {
namespace {

HashSecret draw() noexcept {
  uint64_t words[6] = {};
  // The clock and addresses differ between processes. They suffice if the system has no random numbers.
  uint64_t state = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  state ^= reinterpret_cast<uintptr_t>(&words) << 20 ^ reinterpret_cast<uintptr_t>(&draw);
  for (uint64_t& word : words) word = hash_detail::fold(state += 0x9E3779B97F4A7C15ULL, 0xD6E8FEB86659FD93ULL);
  try {
    std::random_device device;
    for (uint64_t& word : words) word ^= static_cast<uint64_t>(device()) << 32 ^ device();
  } catch (const std::exception&) {
  }
  return {words[0], words[1] | 1, words[2], words[3] | 1, {words[4], words[5]}};
}

}  // namespace

const HashSecret hash_secret = draw();

}  // namespace heddle
