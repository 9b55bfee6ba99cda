#include "distributed/peer_watch.h"

#include <cmath>

#include "core/error.h"

namespace heddle {
namespace {
constexpr int tag = 39;                              // any tag will do, because only PeerWatch sends messages
constexpr uint64_t alive = ~uint64_t{0};             // any other value: the rank leaves after so many operations
constexpr std::chrono::milliseconds interval{1000};  // between two words of a rank
}  // namespace

PeerWatch::PeerWatch(Mpi& mpi, int rank, int size, double silence_seconds)
    : mpi_(mpi), rank_(rank), size_(size), silence_(silence_seconds), sent_at_(Clock::now()), heard_at_(sent_at_),
      polled_at_(sent_at_) {
  if (size_ > 1) receive();
}

void PeerWatch::send(uint64_t word) {
  sent_.push_back({word, {}});
  mpi_.send(&sent_.back().word, sizeof(uint64_t), (rank_ + 1) % size_, tag, sent_.back().request);
  sent_at_ = Clock::now();
}

void PeerWatch::receive() { mpi_.receive(&word_, sizeof word_, (rank_ + size_ - 1) % size_, tag, incoming_); }

std::string PeerWatch::before() const {
  return "rank " + std::to_string((rank_ + size_ - 1) % size_) + " of " + std::to_string(size_);
}

void PeerWatch::poll(uint64_t operation) {
  if (size_ == 1) return;
  const Clock::time_point now = Clock::now();
  // A pause of more than five intervals means that the process or the system was suspended. This rank has not received
  // words meanwhile, so the previous rank gets the full time again.
  if (now - polled_at_ > 5 * interval) heard_at_ = now;
  polled_at_ = now;
  if (!leaving_ && now - sent_at_ >= interval) send(alive);
  while (!sent_.empty() && mpi_.test(sent_.front().request)) sent_.pop_front();
  while (!left_ && mpi_.test(incoming_)) {
    heard_at_ = now;
    if (word_ != alive) left_ = true;
    else receive();
  }
  if (left_ && operation > word_) throw Error("IO", "world: " + before() + " has ended before the others");
  if (!left_ && now - heard_at_ > silence_)
    throw Error("IO", "world: " + before() + " has sent no heartbeat for " +
                          std::to_string(static_cast<long>(std::lround(silence_.count()))) + " s");
}

void PeerWatch::leave(uint64_t operations) {
  if (size_ == 1) return;
  leaving_ = true;
  send(operations);
}

}  // namespace heddle
