#include "runtime/lane.h"

#include "core/error.h"

namespace heddle {

Lane::Lane(int threads, std::shared_ptr<Accelerator> accelerator)
    : threads_(threads), accelerator_(std::move(accelerator)) {
  if (accelerator_)
    accelerator_->on_release([this] {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        released_ = true;
      }
      wake_.notify_one();
    });
  thread_ = std::thread([this] { loop(); });
}

Lane::~Lane() { stop(); }

void Lane::post(std::function<void()> job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Lane::stop() {
  std::deque<std::function<void()>> dropped;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (!accelerator_) return;
  accelerator_->on_release(nullptr);
  accelerator_->free_released();
}

void Lane::loop() {
  // Only this thread runs loops on the pool, because the pool may pin the thread that does.
  pool_ = std::make_unique<Pool>(threads_);
  for (;;) {
    std::function<void()> job;
    bool free = false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || released_ || !jobs_.empty(); });
      if (stopping_) break;
      std::swap(free, released_);
      if (!jobs_.empty()) {
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
    }
    if (free) accelerator_->free_released();
    if (job) job();
  }
  pool_.reset();
}

Pool& Lane::pool() { return *pool_; }

unsigned char* Lane::grow(std::shared_ptr<Storage>& storage, size_t bytes) {
  if (!storage || storage->bytes() < bytes) {
    storage.reset();  // frees the old memory first, so that both never exist at once
    if (accelerator_) accelerator_->free_released();
    storage = Storage::allocate(bytes, accelerator_);
  }
  return storage->data();
}

unsigned char* Lane::arena(size_t bytes) {
  unsigned char* data = grow(arena_, bytes);
  arena_bytes_.store(arena_->bytes(), std::memory_order_relaxed);
  return data;
}

void Lane::join(const std::string& id, int rank, int size) {
  collective_.reset(), sums_.reset();  // a lane is in one world at a time
  collective_ = join_collective(accelerator_, id, rank, size);
  sums_ = collective_;
}

Collective& Lane::collective() {
  if (!collective_) throw invalid_argument("world: expected a device that has joined one, got one that has not");
  return *collective_;
}

unsigned char* Lane::scratch(size_t bytes) { return grow(scratch_, bytes); }

}  // namespace heddle
