// Sums over the devices of several processes, or of several lanes of one process, for data-parallel training.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/accelerator.h"
#include "core/rank_sums.h"

namespace heddle {

enum class Collected { f32, bf16, bytes };
// Device memory of `count` numbers of one type.
struct CollectedSpan {
  void* data;
  size_t count;
};
// By rank: the parts of some tensors that the rank owns. All ranks pass the same sizes.
using CollectedByRank = std::vector<std::vector<CollectedSpan>>;

class Collective : public RankSums {
 public:
  // Queues a sum over all ranks on the lane's stream. The sums replace the numbers in `data`, which is device memory.
  // All ranks must call the functions of this class in the same order with the same sizes.
  virtual void all_reduce_f32(void* data, size_t count) = 0;
  virtual void all_reduce_f64(void* data, size_t count) = 0;
  // Adds up each part over all ranks. Each rank receives the sums of the parts that it owns. Its other parts
  // do not change.
  virtual void reduce_scatter(const CollectedByRank& parts, Collected type) = 0;
  // Copies each part from the rank that owns it to all other ranks.
  virtual void all_gather(const CollectedByRank& parts, Collected type) = 0;
};

constexpr size_t collective_id_bytes = 128;

// Creates an id. Rank 0 sends it to the other ranks, and every rank passes it to join_collective. Throws UNSUPPORTED
// without NCCL or without CUDA in this build.
std::string collective_id();
// Waits for all ranks. Lane thread only. Throws UNSUPPORTED, INVALID_ARGUMENT or INTERNAL.
std::shared_ptr<Collective> join_collective(
    std::shared_ptr<Accelerator> accelerator, const std::string& id, int rank, int size);

}  // namespace heddle
