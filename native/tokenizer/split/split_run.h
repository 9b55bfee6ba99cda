// Splitter::run. Most tokenizers have a single pattern, so each common pattern has a specialized loop.
#pragma once
#include "tokenizer/split/split_bloom.h"
#include "tokenizer/split/split_deepseek.h"
#include "tokenizer/split/split_patterns.h"
#include "tokenizer/split/splitter.h"

namespace heddle {

template <class F> void Splitter::run(const char* begin, const char* end, F&& emit) const {
  if (stages_.size() != 1) return run_stage(0, begin, end, emit);
  switch (stages_[0].options.kind) {
    case SplitKind::gpt2: return run_one<split::Gpt2>(begin, end, emit);
    case SplitKind::cl100k: return run_one<split::Cl100k>(begin, end, emit);
    case SplitKind::o200k: return run_one<split::O200k>(begin, end, emit);
    case SplitKind::bloom: return run_one<split::Bloom>(begin, end, emit);
    case SplitKind::space_runs: return run_one<split::SpaceRuns>(begin, end, emit);
    default: return run_stage(0, begin, end, emit);
  }
}

template <class Pattern, class F> void Splitter::run_one(const char* begin, const char* end, F& emit) const {
  const SplitStage stage = stages_[0].options;
  for (const char* p = begin; p < end;) {
    const char* next = Pattern::next(p, end, stage);
    emit(p, next);
    p = next;
  }
}

// The number of stages, which the constructor limits, bounds the recursion.
template <class F> void Splitter::run_stage(size_t index, const char* begin, const char* end, F& emit) const {
  if (index == stages_.size()) return emit(begin, end);
  const Stage& stage = stages_[index];
  for (const char* p = begin; p < end;) {
    const char* next = stage.next(p, end, stage.options);
    run_stage(index + 1, p, next, emit);
    p = next;
  }
}

}  // namespace heddle
