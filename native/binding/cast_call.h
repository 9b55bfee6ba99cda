// What JavaScript's NativeLane.cast asks for: elements of a file or an array in another type and order, in a tensor or an array.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "cpu/weights/weight_cast.h"
#include "runtime/lane.h"

namespace heddle {

class CastCall {
 public:
  // Reads cast(source, offset, from, to, addend, count, target, at, how): `count` elements of type `from` at byte `offset` of a MappedFile or an array become
  // elements of type `to` at byte `at` of a NativeTensor or an ArrayBuffer. With `how`, `elements` lie there, which are
  //   viewed as { sizes, strides, start }, up to four dimensions: `count` from `first` on are made of those;
  //   stored as 8-bit floats of `columns` a row with the blocks' `scales` (Float32Array, which is copied), or
  //   as MXFP4 whose scales are at `scaleOffset` of `scaleSource`.
  // Arrays, which nobody else may have until it is done, join `keep`.
  CastCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);
  // On the lane's thread.
  void run(Lane& lane);
  const CastFindings& findings() const { return findings_; }

 private:
  StoredBytes stored(const Napi::Value& source, int64_t offset, size_t bytes, std::vector<Napi::Value>& keep);
  void read_storage(const Napi::Object& how, int64_t elements, std::vector<Napi::Value>& keep);
  void read_target(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);

  WeightCast cast_;
  std::vector<std::shared_ptr<Mapping>> files_;
  std::shared_ptr<Storage> tensor_;
  CastFindings findings_;
};

}  // namespace heddle
