// Collective operations of the ranks. Used only on the thread that makes all MPI calls. Every rank must call the same
// operations in the same order, and with the same sizes except for gather(). Operations throw IO if a rank is lost or
// MPI reports an error.
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

// The memory of each rank's part of some tensors. Element r has the spans of rank r's part. The sizes are the same on
// all ranks.
using SpansByRank = std::vector<std::vector<SummedSpan>>;

class RankGroup {
 public:
  // Opens the first usable MPI library and connects the ranks. Once abort_code is not negative, the next poll or wait
  // ends all ranks with this code. Throws UNSUPPORTED or IO.
  RankGroup(const std::vector<std::string>& libraries, double silence_seconds, const std::atomic<int>& abort_code);

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& version() const { return mpi_->version(); }

  // Replaces the numbers with their sums over all ranks, which have the same bits on all ranks and with every library.
  // The order of additions is the order of ranks: ((rank 0 + rank 1) + rank 2) + … Sums of bf16 are added in f32 and
  // rounded once.
  void all_reduce(const std::vector<SummedSpan>& spans, Summed type);
  // Replaces this rank's part with its sum over all ranks, in the order of all_reduce. The other parts do not change.
  void reduce_scatter(const SpansByRank& parts, Summed type);
  // Replaces the part of each other rank with that rank's numbers.
  void all_gather(const SpansByRank& parts);
  // Copies `data` of rank `root` to `data` of all other ranks. If this throws, MPI may still use the memory.
  void broadcast(unsigned char* data, size_t bytes, int root);
  // Returns the bytes of all ranks, in rank order. Ranks may pass different numbers of bytes: `lengths` receives the
  // number of each rank. Throws INVALID_ARGUMENT if the total exceeds 1 GiB.
  std::vector<unsigned char> gather(const unsigned char* data, size_t bytes, std::vector<uint64_t>& lengths);
  void barrier();
  // Must be called regularly between operations: sends heartbeats and checks those of the previous rank. Throws IO if a
  // rank is lost, or the error of an earlier operation.
  void poll();
  // Announces that this rank leaves, waits until the previous rank leaves too, and finalizes MPI.
  void close();
  // Ends all ranks, including this process.
  void abort(int code);

 private:
  struct Chunk;       // a part of a list of spans
  struct PartsChunk;  // a part of every rank's list of spans
  void wait(Mpi::Request& request);
  // Runs a step that calls MPI. If it fails, every later poll throws the same error, because the ranks may no longer be
  // at the same operation.
  template <class Step> auto attempt(const Step& step);

  const std::atomic<int>& abort_code_;
  std::unique_ptr<Mpi> mpi_;
  int rank_ = 0, size_ = 1;
  uint64_t operations_ = 0;  // number of operations begun so far, the same for all ranks
  std::unique_ptr<PeerWatch> watch_;
  std::exception_ptr failed_;  // the first failure
};

}  // namespace heddle
