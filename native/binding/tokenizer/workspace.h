// Memory and encoders of a tokenizer's batches. Keeping them between batches saves page faults and keeps word caches
// warm.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "tokenizer/buffers.h"
#include "tokenizer/encoder.h"

namespace heddle {

struct Workspace {
  struct Worker {
    explicit Worker(const std::shared_ptr<const TokenizerModel>& model) : encoder(model) {}
    Encoder encoder;
    Encoding encoding;  // ids of the worker's texts, back to back
  };
  RawBuffer<char16_t> text;
  std::vector<std::unique_ptr<Worker>> workers;
};

class Workspaces {
 public:
  std::unique_ptr<Workspace> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return kept_ != nullptr ? std::move(kept_) : std::make_unique<Workspace>();
  }
  // Keeps one workspace, unless it is large. Batches that run at the same time use separate workspaces.
  void give(std::unique_ptr<Workspace> workspace) {
    size_t bytes = workspace->text.capacity() * sizeof(char16_t);
    for (const auto& worker : workspace->workers) bytes += worker->encoding.ids.capacity() * sizeof(uint32_t);
    if (bytes > max_kept) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_ = std::move(workspace);
  }

 private:
  static constexpr size_t max_kept = size_t{32} << 20;  // bytes
  std::mutex mutex_;
  std::unique_ptr<Workspace> kept_;
};

}  // namespace heddle
