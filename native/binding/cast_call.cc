#include "binding/cast_call.h"

#include <string>

#include "binding/files.h"
#include "binding/tensor.h"
#include "binding/unwrap.h"

namespace heddle {
namespace {

// Bytes of `count` elements, which must be whole blocks.
size_t bytes_of(DType type, int64_t count, const char* name) {
  if (is_quantised(type) && count % block_type(type).elements)
    throw invalid_argument(std::string(name) + ": expected a multiple of " + std::to_string(block_type(type).elements) + " elements for " + dtype_name(type) +
                           ", got " + std::to_string(count));
  return bytes_of_elements(type, count);
}

void check_room(size_t at, size_t bytes, size_t room, const char* name) {
  if (at > room || bytes > room - at)
    throw invalid_argument(std::string(name) + ": expected at most " + std::to_string(room) + " bytes, got " + std::to_string(at) + " + " + std::to_string(bytes));
}

}  // namespace

CastCall::CastCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep) {
  const size_t offset = static_cast<size_t>(integer(info[1], "offset")), at = static_cast<size_t>(integer(info[7], "at"));
  cast_.from = number_type(info[2], "cast: from"), cast_.to = number_type(info[3], "cast: to");
  cast_.addend = info[4].IsNumber() ? info[4].As<Napi::Number>().FloatValue() : 0.0f;
  cast_.count = integer(info[5], "count", 1LL << 46);
  const size_t read = bytes_of(cast_.from, cast_.count, "cast: source"), written = bytes_of(cast_.to, cast_.count, "cast: target");
  if (info[0].IsTypedArray() || info[0].IsArrayBuffer()) {
    const ByteView source = byte_view(info[0], "source");
    check_room(offset, read, source.bytes, "cast: source");
    cast_.bytes = source.data + offset;
    keep.push_back(info[0]);
  } else {
    file_ = MappedFile::mapping(info[0]);
    file_->check_range(offset, read);
    cast_.file = file_.get(), cast_.offset = offset;
  }
  if (at % (is_quantised(cast_.to) ? 1 : dtype_bytes(cast_.to)))
    throw invalid_argument("at: expected a multiple of " + std::to_string(dtype_bytes(cast_.to)) + ", got " + std::to_string(at));
  if (info[6].IsArrayBuffer()) {
    const ByteView target = byte_view(info[6], "target");
    check_room(at, written, target.bytes, "cast: target");
    cast_.out = target.data + at;
    keep.push_back(info[6]);
    return;
  }
  tensor_ = unwrap<TensorHandle>(info[6], "target").storage();
  if (!tensor_->writable()) throw invalid_argument("cast: expected a writable tensor, got one mapped from a file");
  if (tensor_->accelerator()) throw invalid_argument("cast: expected a tensor of the CPU, got one of another device");
  check_room(at, written, tensor_->bytes(), "cast: target");
  cast_.out = tensor_->data() + at;
}

void CastCall::run(Lane& lane) {
  if (tensor_) tensor_->check(), tensor_->forget_packed();
  if (cast_.count == 0) return;
  Pool::Watch watch(lane.pool(), {&lane.stopping_flag(), nullptr});  // an environment that closes does not wait for it
  findings_ = cast_weights(cast_, lane.pool());
}

}  // namespace heddle
