// Sums over the devices of several processes, or of several lanes of one process, for data-parallel training.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

#include "runtime/accelerator.h"

namespace heddle {

class Collective {
 public:
  virtual ~Collective() = default;
  // Adds up device memory in place. Every rank must call it with the same sizes in the same order. Queued on the lane's
  // stream.
  virtual void all_reduce_f32(void* data, size_t count) = 0;
  virtual void all_reduce_f64(void* data, size_t count) = 0;
};

constexpr size_t collective_id_bytes = 128;

// Creates the id that rank 0 shares and every rank joins with. Throws UNSUPPORTED without NCCL or without CUDA in this
// build.
std::string collective_id();
// Waits for all ranks. Lane thread only. Throws UNSUPPORTED, INVALID_ARGUMENT or INTERNAL.
std::shared_ptr<Collective> join_collective(
    std::shared_ptr<Accelerator> accelerator, const std::string& id, int rank, int size);

}  // namespace heddle
