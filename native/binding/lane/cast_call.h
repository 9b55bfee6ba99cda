// One call of JavaScript's NativeLane.cast. It converts elements of a file or an array to another type and memory
// layout, and writes them to a tensor or an array.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "cpu/weights/weight_cast.h"
#include "runtime/lane.h"

namespace heddle {

class CastCall {
 public:
  // Reads cast(source, offset, from, to, addend, count, target, at, how). Converts `count` elements from type `from` to
  // type `to`, after adding `addend`. The source elements begin at byte `offset` of `source`, a MappedFile or an array.
  // The results begin at byte `at` of `target`, a NativeTensor or an ArrayBuffer. `how` describes the source:
  //   { sizes, strides, start, first, elements }: a strided view of up to four dimensions, of which `count` elements
  // from index `first` on are converted;
  //   { columns, scales }: 8-bit floats with `columns` per row and one scale per block (Float32Array, copied); or
  //   { scaleSource, scaleOffset }: MXFP4 with separate scales.
  // Appends the arrays to `keep`. Other code must not use them until the call is done.
  CastCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);
  // Runs on the lane's thread.
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
