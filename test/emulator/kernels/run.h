// Runs jobs on a lane's thread, and the program of a Builder.
#pragma once
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "builder.h"
#include "runtime/devices.h"
#include "runtime/executable.h"

namespace heddle {
namespace cases {

// Runs a job on the lane's thread, and waits for it. Throws what the job throws.
inline void on_lane(Lane& lane, const std::function<void()>& job) {
  std::exception_ptr failure;
  bool done = false;
  std::mutex mutex;
  std::condition_variable settled;
  lane.post([&] {
    try {
      job();
    } catch (...) {
      failure = std::current_exception();
    }
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
    settled.notify_one();
  });
  std::unique_lock<std::mutex> lock(mutex);
  settled.wait(lock, [&] { return done; });
  if (failure) std::rethrow_exception(failure);
}

// Runs a program on a device. HEDDLE_CHECK makes the runtime compare every node with its reference, and check the
// sentinels after the node's outputs.
inline void run(const Builder& b, const std::shared_ptr<Accelerator>& device, Lane& lane) {
  std::vector<std::shared_ptr<Storage>> bound;
  for (const auto& bytes : b.data) {
    bound.push_back(Storage::allocate(bytes.size(), device));
    device->upload(bound.back()->data(), bytes.data(), bytes.size());
  }
  on_lane(lane, [&] {
    Executable executable(std::make_shared<Program>(b.desc), bound, device);
    RunArguments arguments;
    executable.run(arguments, lane);
  });
}

}  // namespace cases
}  // namespace heddle
