// The workspace of a tokenizer's batches, kept between batches: touched memory, and encoders with warm word caches.
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
    Encoding encoding;  // of the worker's texts, one after the other
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
  // One is kept, if it is not large; batches that run at once have their own.
  void give(std::unique_ptr<Workspace> workspace) {
    size_t bytes = workspace->text.capacity() * sizeof(char16_t);
    for (const auto& worker : workspace->workers) bytes += worker->encoding.ids.capacity() * sizeof(uint32_t);
    if (bytes > most_kept) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_ = std::move(workspace);
  }

 private:
  static constexpr size_t most_kept = size_t{32} << 20;
  std::mutex mutex_;
  std::unique_ptr<Workspace> kept_;
};

}  // namespace heddle
