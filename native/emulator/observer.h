// Lets a test see which operands kernels pass to wgmma, and which arguments the host passes to cuTensorMapEncodeTiled.
#pragma once
#include <functional>

#include "cuda.h"
#include "emulator/asynchronous.h"

namespace heddle {
namespace emulator {

// The arguments of cuTensorMapEncodeTiled, innermost dimension first. Dimensions that the tensor lacks are 0.
struct MapArguments {
  CUtensorMapDataType type;
  cuuint32_t rank;
  cuuint64_t dims[4], strides[3];  // strides: in bytes, from the second dimension on
  cuuint32_t box[4], element_strides[4];
  CUtensorMapInterleave interleave;
  CUtensorMapSwizzle swizzle;
  CUtensorMapL2promotion promotion;
  CUtensorMapFloatOOBfill fill;
};

// Called on the thread that runs the launch. Empty functions are not called.
struct Observer {
  // A product of a warpgroup of the running block, when its first warp issues it. `kernel` is the name of the launch.
  std::function<void(const char* kernel, int group, const WarpgroupProduct& product)> product;
  std::function<void(const MapArguments&)> map;  // a valid tensor map
};
Observer& observer();

}  // namespace emulator
}  // namespace heddle
