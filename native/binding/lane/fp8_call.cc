#include "binding/lane/fp8_call.h"

#include <algorithm>
#include <string>

#include "binding/arrays.h"
#include "binding/unwrap.h"
#include "ops/fp8.h"

namespace heddle {

Fp8Call::Fp8Call(const Napi::CallbackInfo& info) : work_{} {
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    throw invalid_argument("quantizeFp8: expected a Float32Array, got something else");
  const auto numbers = info[0].As<Napi::Float32Array>();
  const int64_t elements = static_cast<int64_t>(numbers.ElementLength());
  const int64_t rows = integer(info[1], "rows", 1LL << 40), columns = integer(info[2], "columns", 1LL << 40);
  if (columns > 0 ? elements % columns || elements / columns != rows : elements != 0)
    throw invalid_argument("quantizeFp8: expected (" + std::to_string(rows) + ", " + std::to_string(columns) +
                           ") numbers, got " + std::to_string(elements));
  const int64_t blocks = columns > 0 ? fp8_blocks(rows) * fp8_blocks(columns) : 0;
  Napi::ArrayBuffer bytes = new_array_buffer(info.Env(), numbers.ElementLength());
  Napi::ArrayBuffer scales = new_array_buffer(info.Env(), static_cast<size_t>(blocks) * sizeof(float));
  result_ = Napi::Object::New(info.Env());
  result_.Set("bytes", bytes);
  result_.Set("scales", scales);
  work_ = {numbers.Data(), rows, columns, static_cast<uint8_t*>(bytes.Data()), static_cast<float*>(scales.Data())};
}

void Fp8Call::Work::run(Lane& lane) const {
  if (columns == 0) return;
  Pool::Watch watch(lane.pool(), lane.cancellation());
  lane.pool().interrupt(true);  // closing the environment stops the work
  lane.pool().run(fp8_blocks(rows), [&](int64_t band, int) {
    const int64_t row = band * fp8_block, at = row * columns;
    fp8_quantize(numbers + at, std::min<int64_t>(fp8_block, rows - row), columns, bytes + at,
        scales + band * fp8_blocks(columns), row);
  });
}

}  // namespace heddle
