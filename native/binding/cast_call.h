// What JavaScript's NativeLane.cast asks for: elements of a file or an array in another type, in a tensor or an array.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "cpu/weight_cast.h"
#include "runtime/lane.h"

namespace heddle {

class CastCall {
 public:
  // Reads cast(source, offset, from, to, addend, count, target, at): `count` elements of type `from` at byte `offset` of a MappedFile or an array become
  // elements of type `to` at byte `at` of a NativeTensor or an ArrayBuffer. Arrays, which nobody else may have until it is done, join `keep`.
  CastCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);
  // On the lane's thread.
  void run(Lane& lane);
  const CastFindings& findings() const { return findings_; }

 private:
  WeightCast cast_;
  std::shared_ptr<Mapping> file_;
  std::shared_ptr<Storage> tensor_;
  CastFindings findings_;
};

}  // namespace heddle
