// Detects ranks that have ended or hang, independently of the launcher. The ranks form a ring. Every second, each rank
// sends a word (a heartbeat) to the next rank, and expects one from the previous rank. Used only on the thread that
// makes all MPI calls.
#pragma once
#include <chrono>
#include <cstdint>
#include <list>
#include <string>

#include "distributed/mpi.h"

namespace heddle {

class PeerWatch {
 public:
  PeerWatch(Mpi& mpi, int rank, int size, double silence_seconds);

  // Sends a word if one is due, and receives words. Throws IO if the previous rank has sent no word for
  // silence_seconds, or has left before operation number `operation`. The message names the previous rank. Call this at
  // least once a second.
  void poll(uint64_t operation);
  // Tells the next rank that this rank leaves the group after its first `operations` operations.
  void leave(uint64_t operations);
  // Whether the previous rank has announced that it leaves, and all sends of this rank have completed.
  bool has_left() const { return size_ == 1 || (left_ && sent_.empty()); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Sent {
    uint64_t word;
    Mpi::Request request;
  };
  void send(uint64_t word);
  void receive();
  std::string before() const;  // describes the previous rank in messages: "rank 2 of 4"

  Mpi& mpi_;
  const int rank_, size_;
  const std::chrono::duration<double> silence_;
  Clock::time_point sent_at_, heard_at_, polled_at_;
  std::list<Sent> sent_;  // sends that have not completed, and their buffers
  uint64_t word_ = 0;     // the buffer of incoming_, then the last word received
  Mpi::Request incoming_;
  bool leaving_ = false, left_ = false;  // leaving_: leave() was called; left_: the previous rank has called it
};

}  // namespace heddle
