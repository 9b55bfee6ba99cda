// Collective operations of the ranks, on the thread that makes all MPI calls. Every rank must call the same operations
// in the same order with the same sizes.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "distributed/mpi.h"
#include "distributed/peer_watch.h"

namespace heddle {

enum class Summed { f32, bf16, f64 };

struct SummedSpan {
  unsigned char* data;
  size_t bytes;
};

// Memory of every rank's part of some tensors, by rank. All ranks have the same sizes.
using SpansByRank = std::vector<std::vector<SummedSpan>>;

class RankGroup {
 public:
  // Connects the ranks. `abort_code`: once it is not negative, the next wait ends all ranks with this code.
  RankGroup(const std::vector<std::string>& libraries, double silence_seconds, const std::atomic<int>& abort_code);

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& version() const { return mpi_->version(); }

  // Replaces the numbers with their sums over all ranks. The order is ((rank 0 + rank 1) + rank 2) + … with every
  // library. f32 and f64 round every addition. bf16 is added in f32 and rounded once. All ranks get the same bits.
  void all_reduce(const std::vector<SummedSpan>& spans, Summed type);
  // Adds up each rank's part over all ranks, in rank order as all_reduce does. Only the rank's own part changes.
  void reduce_scatter(const SpansByRank& parts, Summed type);
  // Overwrites the part of every other rank with what that rank has there.
  void all_gather(const SpansByRank& parts);
  // If it throws, MPI may still use the memory.
  void broadcast(unsigned char* data, size_t bytes, int root);
  // Returns the bytes of all ranks, which may differ in length. `lengths` receives their lengths.
  std::vector<unsigned char> gather(const unsigned char* data, size_t bytes, std::vector<uint64_t>& lengths);
  void barrier();
  // Makes progress between operations. Throws IO if a rank has ended.
  void poll();
  // Leaves the group together with all ranks.
  void close();
  // Ends all ranks, including this process.
  void abort(int code);

 private:
  struct Chunk;       // a part of a list of spans
  struct PartsChunk;  // a part of every rank's list of spans
  void wait(Mpi::Request& request);
  // Runs a step that calls MPI. If it fails, every later poll throws the same error, because the ranks no longer agree.
  template <class Step> auto attempt(const Step& step);

  const std::atomic<int>& abort_code_;
  std::unique_ptr<Mpi> mpi_;
  int rank_ = 0, size_ = 1;
  uint64_t operations_ = 0;  // number of operations begun so far, the same for all ranks
  std::unique_ptr<PeerWatch> watch_;
  std::exception_ptr failed_;  // the first failure
};

}  // namespace heddle
