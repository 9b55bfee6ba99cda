// Reads ranges of a mapped file. Reading must succeed exactly for ranges that exist, even after another program has
// truncated the file.
#include <fcntl.h>
#include <unistd.h>

#include "fuzz.h"
#include "core/mapping.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

struct TemporaryFile {
  std::string path = "/tmp/heddle-fuzz-XXXXXX";
  int descriptor = mkstemp(&path[0]);
  ~TemporaryFile() { unlink(path.c_str()); }
};

// Returns an offset or a length: up to two bytes beyond the file's size, any number, or close to SIZE_MAX.
size_t position(Input& in, size_t size) {
  if (in.ConsumeBool()) return in.ConsumeIntegralInRange<size_t>(0, size + 2);
  return in.ConsumeBool() ? in.ConsumeIntegral<size_t>() : SIZE_MAX - in.ConsumeIntegralInRange<size_t>(0, size + 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static TemporaryFile file;
  Input in(data, size);
  const std::vector<uint8_t> content = in.ConsumeBytes<uint8_t>(in.ConsumeIntegralInRange<size_t>(0, 300));
  require(ftruncate(file.descriptor, 0) == 0, "the file can be emptied");
  require(pwrite(file.descriptor, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()),
      "the file can be written");
  const std::shared_ptr<Mapping> mapping = Mapping::open(file.path);
  require(mapping->size() == content.size(), "the mapping has the file's size");

  size_t left = content.size();  // current size of the file
  while (in.remaining_bytes() > 0) {
    if (in.ConsumeIntegralInRange<int>(0, 9) == 0 && left > 0) {
      left = in.ConsumeIntegralInRange<size_t>(0, left - 1);
      require(ftruncate(file.descriptor, static_cast<off_t>(left)) == 0, "the file can be shortened");
    }
    const size_t offset = position(in, content.size()), length = position(in, content.size());
    const bool inside = offset <= content.size() && length <= content.size() - offset;
    require(accepts([&] { mapping->check_range(offset, length); }) == inside,
        "check_range accepts exactly the ranges inside the file");
    require(accepts([&] { mapping->check(); }) == (left >= content.size()), "check reports a shortened file");
    if (!inside && length > content.size()) {
      require(!accepts([&] { mapping->read(offset, length, nullptr); }), "a range outside the file is not read");
      continue;
    }
    const Block to(length);
    const bool read = accepts([&] { mapping->read(offset, length, to.data()); });
    require(
        read == (inside && (length == 0 || offset + length <= left)), "read succeeds if and only if the bytes exist");
    if (read && length > 0)
      require(std::memcmp(to.data(), content.data() + offset, length) == 0, "read returns the file's bytes");
  }
  return 0;
}
