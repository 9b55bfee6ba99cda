#include "binding/lane/digest_call.h"

#include <algorithm>
#include <string>

#include "binding/files.h"
#include "binding/guard.h"
#include "binding/unwrap.h"
#include "core/crc32c.h"
#include "core/error.h"
#include "core/round.h"

namespace heddle {
namespace {

// Number of bytes that a thread reads at once. They fit into L2, so the checksum reads them from there.
constexpr size_t piece = 1 << 18;

}  // namespace

DigestCall::DigestCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep) {
  offset_ = static_cast<size_t>(integer(info[1], "offset")), bytes_ = static_cast<size_t>(integer(info[2], "bytes"));
  before_ = static_cast<uint32_t>(integer(info[3], "before", 4294967295.0));
  if (!info[0].IsTypedArray()) {
    file_ = MappedFile::mapping(info[0]);
    file_->check_range(offset_, bytes_);
    return;
  }
  const ByteView view = byte_view(info[0], "source");
  if (offset_ > view.bytes || bytes_ > view.bytes - offset_)
    throw invalid_argument("crc32c: expected a range within " + std::to_string(view.bytes) + " bytes, got " +
                           std::to_string(bytes_) + " bytes at " + std::to_string(offset_));
  data_ = view.data + offset_;
  keep.push_back(info[0]);
}

uint32_t DigestCall::run(Lane& lane) const {
  if (!file_ || !bytes_) return crc32c(before_, data_, bytes_);
  Pool::Watch watch(lane.pool(), lane.cancellation());
  lane.pool().interrupt(true);  // closing the environment stops the work
  const size_t pieces = ceil_div(bytes_, piece);
  std::vector<uint32_t> sums(pieces);
  std::vector<std::vector<unsigned char>> rooms(static_cast<size_t>(lane.pool().threads()));
  const auto length = [&](size_t i) { return std::min(piece, bytes_ - i * piece); };
  lane.pool().run(static_cast<int64_t>(pieces), [&](int64_t task, int thread) {
    const size_t i = static_cast<size_t>(task);
    std::vector<unsigned char>& room = rooms[static_cast<size_t>(thread)];
    room.resize(piece);
    file_->read(offset_ + i * piece, length(i), room.data());
    sums[i] = crc32c(0, room.data(), length(i));
  });
  uint32_t sum = before_;
  for (size_t i = 0; i < pieces; ++i) sum = crc32c_joined(sum, sums[i], length(i));
  return sum;
}

Napi::Value crc32c_binding(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const ByteView view = byte_view(info[0], "bytes");
    return Napi::Number::New(info.Env(), crc32c(0, view.data, view.bytes));
  });
}

}  // namespace heddle
