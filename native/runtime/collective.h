// Sums over the devices of several processes, or of several lanes of one process, for data-parallel training.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "runtime/accelerator.h"
#include "runtime/rank_sums.h"

namespace heddle {

// Device memory of numbers of one type.
enum class Collected { f32, bf16, bytes };
struct CollectedSpan {
  void* data;
  size_t count;
};
// Memory of every rank's part of some tensors, by rank. All ranks have the same sizes.
using CollectedByRank = std::vector<std::vector<CollectedSpan>>;

class Collective : public RankSums {
 public:
  // Queues a sum over all ranks on the lane's stream. It replaces the numbers in `data`, which is device memory. Every
  // rank must call it with the same sizes in the same order.
  virtual void all_reduce_f32(void* data, size_t count) = 0;
  virtual void all_reduce_f64(void* data, size_t count) = 0;
  // Adds up each rank's part over all ranks. Only the rank's own part changes.
  virtual void reduce_scatter(const CollectedByRank& parts, Collected type) = 0;
  // Overwrites the part of every other rank with what that rank has there.
  virtual void all_gather(const CollectedByRank& parts, Collected type) = 0;
};

constexpr size_t collective_id_bytes = 128;

// Creates the id that rank 0 shares and every rank joins with. Throws UNSUPPORTED without NCCL or without CUDA in this
// build.
std::string collective_id();
// Waits for all ranks. Lane thread only. Throws UNSUPPORTED, INVALID_ARGUMENT or INTERNAL.
std::shared_ptr<Collective> join_collective(
    std::shared_ptr<Accelerator> accelerator, const std::string& id, int rank, int size);

}  // namespace heddle
