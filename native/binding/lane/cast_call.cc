#include "binding/lane/cast_call.h"

#include <cstring>
#include <string>

#include "binding/files.h"
#include "binding/tensor.h"
#include "binding/unwrap.h"
#include "ops/fp8.h"

namespace heddle {
namespace {

// Limit of counts, sizes, strides and starts, in elements. Sizes in bytes then cannot overflow.
constexpr int64_t max_elements = 1LL << 46;

int block_of(DType type) { return is_quantized(type) ? block_type(type).elements : 1; }

void check_blocks(DType type, int64_t count, const char* name) {
  if (count % block_of(type))
    throw invalid_argument(std::string(name) + ": expected a multiple of " + std::to_string(block_of(type)) +
                           " elements for " + dtype_name(type) + ", got " + std::to_string(count));
}

void check_room(size_t at, size_t bytes, size_t room, const char* name) {
  if (at > room || bytes > room - at)
    throw invalid_argument(std::string(name) + ": expected a range within " + std::to_string(room) + " bytes, got " +
                           std::to_string(bytes) + " bytes at " + std::to_string(at));
}

std::vector<int64_t> integers(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) throw invalid_argument(std::string(name) + ": expected an array, got another value");
  const Napi::Array array = value.As<Napi::Array>();
  if (array.Length() < 1 || array.Length() > 4)
    throw invalid_argument(std::string(name) + ": expected 1 to 4 numbers, got " + std::to_string(array.Length()));
  std::vector<int64_t> out;
  for (uint32_t i = 0; i < array.Length(); ++i) out.push_back(integer(array.Get(i), name, max_elements));
  return out;
}

// Reads { sizes, strides, start }: a view into an array of `elements` elements.
WeightView view_of(const Napi::Object& how, int64_t elements) {
  const std::vector<int64_t> sizes = integers(how.Get("sizes"), "sizes"),
                             strides = integers(how.Get("strides"), "strides");
  if (sizes.size() != strides.size())
    throw invalid_argument(
        "strides: expected " + std::to_string(sizes.size()) + " numbers, got " + std::to_string(strides.size()));
  WeightView view;
  view.rank = static_cast<int>(sizes.size());
  view.start = integer(how.Get("start"), "start", max_elements);
  int64_t count = 1, last = view.start;
  bool fits = true, empty = false;
  for (size_t d = 0; d < sizes.size(); ++d) {
    view.sizes[d] = sizes[d], view.strides[d] = strides[d];
    if (sizes[d] == 0) empty = true;
    else if (fits)
      fits =
          count <= max_elements / sizes[d] && (strides[d] == 0 || sizes[d] - 1 <= (max_elements - last) / strides[d]);
    if (fits && !empty) count *= sizes[d], last += (sizes[d] - 1) * strides[d];
  }
  if (!empty && (!fits || last >= elements))
    throw invalid_argument("cast: expected a view within " + std::to_string(elements) + " elements, got a larger one");
  if (!empty) return view.merged();
  WeightView none;
  none.rank = 1, none.strides[0] = 1;
  return none;
}

// A view whose last dimension is not contiguous needs unquantized elements, and rows of whole target blocks. Other
// views must begin and end their rows at block boundaries of the source.
void check_order(const WeightCast& c) {
  const WeightView& v = c.view;
  if (!v.in_stretches()) {
    if (c.source.storage != WeightSource::Storage::plain || is_quantized(c.source.type))
      throw invalid_argument("cast: expected contiguous rows of quantized elements, got a transposed view");
    return check_blocks(c.to, v.row_length(), "cast: rows");
  }
  check_blocks(c.source.type, v.start, "cast: start");
  for (int d = 0; d < v.rank - 1; ++d) check_blocks(c.source.type, v.strides[d], "cast: strides");
  check_blocks(c.source.type, v.sizes[v.rank - 1], "cast: rows");
}

}  // namespace

StoredBytes CastCall::stored(const Napi::Value& source, int64_t offset, size_t bytes, std::vector<Napi::Value>& keep) {
  const size_t at = static_cast<size_t>(offset);
  if (source.IsTypedArray() || source.IsArrayBuffer()) {
    const ByteView view = byte_view(source, "source");
    check_room(at, bytes, view.bytes, "cast: source");
    keep.push_back(source);
    return {nullptr, 0, view.data + at};
  }
  files_.push_back(MappedFile::mapping(source));
  files_.back()->check_range(at, bytes);
  return {files_.back().get(), at, nullptr};
}

void CastCall::read_storage(const Napi::Object& how, int64_t elements, std::vector<Napi::Value>& keep) {
  WeightSource& source = cast_.source;
  if (how.Has("scales")) {
    if (source.type != DType::f32 && source.type != DType::bf16)
      throw invalid_argument(
          std::string("cast: from: expected f32 or bf16 for 8-bit floats with scales, got ") + dtype_name(source.type));
    source.storage = WeightSource::Storage::fp8;
    source.columns = integer(how.Get("columns"), "columns", max_elements);
    if (source.columns < 1 || elements % source.columns)
      throw invalid_argument(
          "columns: expected a divisor of " + std::to_string(elements) + ", got " + std::to_string(source.columns));
    const ByteView scales = byte_view(how.Get("scales"), "scales");
    const int64_t blocks = fp8_blocks(elements / source.columns) * fp8_blocks(source.columns);
    if (scales.bytes != static_cast<size_t>(blocks) * sizeof(float))
      throw invalid_argument(
          "scales: expected " + std::to_string(blocks) + " numbers, got " + std::to_string(scales.bytes) + " bytes");
    source.block_scales.resize(static_cast<size_t>(blocks));
    if (blocks) std::memcpy(source.block_scales.data(), scales.data, scales.bytes);
  } else if (how.Has("scaleSource")) {
    if (source.type != DType::mxfp4)
      throw invalid_argument(std::string("cast: from: expected mxfp4, got ") + dtype_name(source.type));
    source.storage = WeightSource::Storage::mxfp4;
    const size_t blocks = static_cast<size_t>(elements / block_of(DType::mxfp4));
    source.scales = stored(how.Get("scaleSource"), integer(how.Get("scaleOffset"), "scaleOffset"), blocks, keep);
  }
}

void CastCall::read_target(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep) {
  const size_t at = static_cast<size_t>(integer(info[7], "at")), written = bytes_of_elements(cast_.to, cast_.count);
  if (at % (is_quantized(cast_.to) ? 1 : dtype_bytes(cast_.to)))
    throw invalid_argument(
        "at: expected a multiple of " + std::to_string(dtype_bytes(cast_.to)) + ", got " + std::to_string(at));
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

CastCall::CastCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep) {
  const int64_t offset = integer(info[1], "offset");
  cast_.source.type = number_type(info[2], "cast: from"), cast_.to = number_type(info[3], "cast: to");
  cast_.addend = info[4].IsNumber() ? info[4].As<Napi::Number>().FloatValue() : 0.0f;
  cast_.count = integer(info[5], "count", max_elements);
  int64_t elements = cast_.count;
  cast_.view.rank = 1, cast_.view.sizes[0] = elements, cast_.view.strides[0] = 1;
  if (info[8].IsObject()) {
    const Napi::Object how = info[8].As<Napi::Object>();
    elements = integer(how.Get("elements"), "elements", max_elements);
    cast_.first = integer(how.Get("first"), "first", max_elements);
    cast_.view.sizes[0] = elements;
    if (how.Has("sizes")) cast_.view = view_of(how, elements);
    read_storage(how, elements, keep);
    const int64_t all = cast_.view.count();
    if (cast_.first > all || cast_.count > all - cast_.first)
      throw invalid_argument("cast: expected a range within " + std::to_string(all) + " elements, got " +
                             std::to_string(cast_.count) + " elements at " + std::to_string(cast_.first));
    check_order(cast_);
    for (const DType type : {cast_.source.type, cast_.to}) check_blocks(type, cast_.first, "cast: first");
  }
  check_blocks(cast_.source.type, elements, "cast: source"),
      check_blocks(cast_.source.type, cast_.count, "cast: source");
  check_blocks(cast_.to, cast_.count, "cast: target");
  cast_.source.stored = stored(info[0], offset, cast_.source.stored_bytes(elements), keep);
  read_target(info, keep);
}

void CastCall::run(Lane& lane) {
  if (tensor_) tensor_->check(), tensor_->forget_packed();
  if (cast_.count == 0) return;
  Pool::Watch watch(lane.pool(), lane.cancellation());
  lane.pool().interrupt(true);  // closing the environment stops the work
  findings_ = cast_weights(cast_, lane.pool());
}

}  // namespace heddle
