#include "distributed/rank_group.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "core/tensor.h"

namespace heddle {
namespace {

constexpr int most_bytes = 1 << 30;  // maximum bytes per MPI call, whose sizes are ints
// Returns the maximum bytes of a chunk. A chunk consists of one message to each rank. 2 MiB are small enough for two
// chunks to fit in the processor's caches. With many ranks, chunks are larger, because the time of messages below
// 32 KiB is mostly latency.
size_t chunk_bytes(size_t ranks) { return std::clamp<size_t>(ranks * (size_t{32} << 10), size_t{2} << 20, most_bytes); }

// Returns the maximum bytes of each rank's range in a PartsChunk. A multiple of 64, so that ranges hold whole elements.
size_t part_bytes(size_t ranks) { return chunk_bytes(ranks) / ranks / 64 * 64; }

size_t element_bytes(Summed type) { return type == Summed::f64 ? 8 : type == Summed::f32 ? 4 : 2; }

// Adds up `ranks` adjacent arrays of `count` numbers, in order. The first array receives the sums.
template <class T> void add_parts(unsigned char* parts, size_t count, int ranks) {
  T* sum = reinterpret_cast<T*>(parts);
  for (int r = 1; r < ranks; ++r) {
    const T* part = sum + static_cast<size_t>(r) * count;
    for (size_t i = 0; i < count; ++i) sum[i] += part[i];
  }
}

// Like add_parts. Adds in f32 and rounds once.
void add_bf16_parts(unsigned char* parts, size_t count, int ranks) {
  bf16* all = reinterpret_cast<bf16*>(parts);
  for (size_t i = 0; i < count; ++i) {
    float sum = to_float(all[i]);
    for (int r = 1; r < ranks; ++r) sum += to_float(all[static_cast<size_t>(r) * count + i]);
    all[i] = to_bf16(sum);
  }
}

void add(Summed type, unsigned char* parts, size_t count, int ranks) {
  if (type == Summed::f32) add_parts<float>(parts, count, ranks);
  else if (type == Summed::f64) add_parts<double>(parts, count, ranks);
  else add_bf16_parts(parts, count, ranks);
}

// Owns the buffers of operations. MPI may use them until the operations have completed, so they are not freed after an
// exception. The leak does not matter: after a failed operation all ranks end soon, and gather() leaks only the lengths
// and its own bytes when it rejects a total that is too large.
template <class T> class Lent {
 public:
  ~Lent() {
    if (std::uncaught_exceptions() == exceptions_) delete memory_;
  }
  T* operator->() const { return memory_; }
  T& operator*() const { return *memory_; }

 private:
  T* const memory_ = new T();
  const int exceptions_ = std::uncaught_exceptions();
};

// The buffers of RankGroup::gather.
struct Gathered {
  std::vector<unsigned char> mine, all;
  uint64_t bytes = 0;
  std::vector<uint64_t> lengths;
  RankParts words, parts;
};

}  // namespace

// Up to chunk_bytes of the spans of all_reduce. They are copied to a buffer, because a chunk may have many spans. Each
// rank sums one slice of the chunk, then gathers the sums of the other slices.
struct RankGroup::Chunk {
  std::vector<SummedSpan> spans;
  size_t bytes = 0;
  // whole: this rank's numbers, then the sums. parts: the numbers of each rank in this rank's slice.
  std::vector<unsigned char> whole, parts;
  RankParts slices, mine;  // slices: each rank's slice of `whole`. mine: each rank's numbers in `parts`
  Mpi::Request request;

  void fill() {
    whole.resize(bytes);
    size_t at = 0;
    for (const SummedSpan& s : spans) std::memcpy(whole.data() + at, s.data, s.bytes), at += s.bytes;
  }
  void store() const {
    size_t at = 0;
    for (const SummedSpan& s : spans) std::memcpy(s.data, whole.data() + at, s.bytes), at += s.bytes;
  }
  // Divides the chunk into one slice per rank, of whole elements.
  void divide(size_t element, int rank, int size) {
    const size_t count = bytes / element, n = static_cast<size_t>(size);
    for (size_t r = 0; r < n; ++r) {
      const size_t begin = count * r / n, end = count * (r + 1) / n;
      slices.offsets.push_back(static_cast<int>(begin * element));
      slices.bytes.push_back(static_cast<int>((end - begin) * element));
    }
    const int own = slices.bytes[static_cast<size_t>(rank)];
    for (size_t r = 0; r < n; ++r) mine.bytes.push_back(own), mine.offsets.push_back(own * static_cast<int>(r));
    parts.resize(static_cast<size_t>(own) * n);
  }
};

namespace {

// Reads or writes a list of spans as one stream of bytes.
class SpanCursor {
 public:
  explicit SpanCursor(const std::vector<SummedSpan>& spans) : spans_(&spans) {}
  // Calls visit(data, bytes) for the next bytes, span by span.
  template <class Visit> void next(size_t bytes, Visit visit) {
    while (bytes > 0) {
      const SummedSpan& span = (*spans_)[span_];
      const size_t taken = std::min(bytes, span.bytes - at_);
      visit(span.data + at_, taken);
      bytes -= taken, at_ += taken;
      if (at_ == span.bytes) ++span_, at_ = 0;
    }
  }

 private:
  const std::vector<SummedSpan>* spans_;
  size_t span_ = 0, at_ = 0;
};

// A SpanCursor for each rank's part.
class PartCursors {
 public:
  explicit PartCursors(const SpansByRank& parts) {
    for (const auto& spans : parts) cursors_.emplace_back(spans);
  }
  SpanCursor& operator[](size_t rank) { return cursors_[rank]; }

 private:
  std::vector<SpanCursor> cursors_;
};

}  // namespace

// The same range of bytes of every rank's part. It is copied through buffers, because a part may have many spans.
struct RankGroup::PartsChunk {
  // whole: the range of every part, one after another.
  // own: in all_gather, the range of this rank's part. In reduce_scatter, the numbers of every rank for that range, at
  // the offsets of `mine`.
  std::vector<unsigned char> whole, own;
  RankParts ranges, mine;  // ranges: each rank's range in `whole`
  Mpi::Request request;

  // Divides the parts into chunks, each with at most `most` bytes of every part.
  static std::vector<PartsChunk> divide(const SpansByRank& parts, size_t most) {
    std::vector<size_t> left;
    for (const auto& spans : parts) {
      left.push_back(0);
      for (const SummedSpan& span : spans) left.back() += span.bytes;
    }
    std::vector<PartsChunk> chunks;
    while (*std::max_element(left.begin(), left.end()) > 0) {
      PartsChunk& chunk = chunks.emplace_back();
      int offset = 0;
      for (size_t& bytes : left) {
        const int taken = static_cast<int>(std::min(bytes, most));
        chunk.ranges.bytes.push_back(taken), chunk.ranges.offsets.push_back(offset);
        offset += taken, bytes -= static_cast<size_t>(taken);
      }
    }
    return chunks;
  }
  size_t bytes(size_t rank) const { return static_cast<size_t>(ranges.bytes[rank]); }
  size_t offset(size_t rank) const { return static_cast<size_t>(ranges.offsets[rank]); }
  size_t total() const { return offset(ranges.bytes.size() - 1) + bytes(ranges.bytes.size() - 1); }
  // Copies the next range of rank `rank`'s part from its spans, or to them.
  void read(size_t rank, PartCursors& from, unsigned char* to) const {
    from[rank].next(bytes(rank), [&](const unsigned char* data, size_t n) { std::memcpy(to, data, n), to += n; });
  }
  void write(size_t rank, PartCursors& into, const unsigned char* from) const {
    into[rank].next(bytes(rank), [&](unsigned char* data, size_t n) { std::memcpy(data, from, n), from += n; });
  }
};

RankGroup::RankGroup(
    const std::vector<std::string>& libraries, double silence_seconds, const std::atomic<int>& abort_code)
    : abort_code_(abort_code), mpi_(Mpi::open(libraries)) {
  mpi_->init();
  rank_ = mpi_->rank(), size_ = mpi_->size();
  watch_ = std::make_unique<PeerWatch>(*mpi_, rank_, size_, silence_seconds);
}

template <class Step> auto RankGroup::attempt(const Step& step) {
  try {
    return step();
  } catch (...) {
    if (!failed_) failed_ = std::current_exception();
    throw;
  }
}

void RankGroup::poll() {
  if (const int code = abort_code_.load(std::memory_order_relaxed); code >= 0) abort(code);
  if (failed_) std::rethrow_exception(failed_);
  attempt([&] { watch_->poll(operations_); });
}

// Waits for an operation by polling it. Yields at first and sleeps later, because MPI_Wait would keep a core busy that
// the computation needs.
void RankGroup::wait(Mpi::Request& request) {
  for (int round = 0; !attempt([&] { return mpi_->test(request); }); ++round) {
    if (round % 64 == 0) poll();
    if (round < 256) std::this_thread::yield();
    else std::this_thread::sleep_for(std::chrono::microseconds(round < 4096 ? 20 : 200));
  }
}

void RankGroup::all_reduce(const std::vector<SummedSpan>& spans, Summed type) {
  ++operations_;
  if (size_ == 1) return;
  const size_t element = element_bytes(type), most = chunk_bytes(static_cast<size_t>(size_));
  Lent<std::vector<Chunk>> lent;
  std::vector<Chunk>& chunks = *lent;
  for (SummedSpan left : spans) {
    while (left.bytes > 0) {
      if (chunks.empty() || chunks.back().bytes == most) chunks.emplace_back();
      Chunk& chunk = chunks.back();
      const size_t taken = std::min(left.bytes, most - chunk.bytes);
      chunk.spans.push_back({left.data, taken});
      chunk.bytes += taken;
      left.data += taken, left.bytes -= taken;
    }
  }
  const auto begin = [&](Chunk& c) {
    c.fill();
    c.divide(element, rank_, size_);
    attempt([&] { mpi_->all_to_all(c.whole.data(), c.slices, c.parts.data(), c.mine, c.request); });
  };
  const auto finish = [&](Chunk& c) {
    wait(c.request);
    c.store();
    c = Chunk();
  };
  // Two chunks overlap: while the ranks gather the sums of one chunk, they exchange the numbers of the next one.
  for (size_t i = 0; i < chunks.size(); ++i) {
    Chunk& c = chunks[i];
    if (i == 0) begin(c);
    wait(c.request);
    if (i + 1 < chunks.size()) begin(chunks[i + 1]);
    const int own = c.mine.bytes[0];
    add(type, c.parts.data(), static_cast<size_t>(own) / element, size_);
    if (i > 0) finish(chunks[i - 1]);
    attempt([&] { mpi_->all_gather(c.parts.data(), own, c.whole.data(), c.slices, c.request); });
  }
  if (!chunks.empty()) finish(chunks.back());
}

void RankGroup::reduce_scatter(const SpansByRank& parts, Summed type) {
  ++operations_;
  if (size_ == 1) return;
  const size_t n = static_cast<size_t>(size_), me = static_cast<size_t>(rank_);
  Lent<std::vector<PartsChunk>> lent;
  std::vector<PartsChunk>& chunks = *lent;
  chunks = PartsChunk::divide(parts, part_bytes(n));
  PartCursors from(parts), into(parts);
  const auto begin = [&](PartsChunk& c) {
    c.whole.resize(c.total());
    for (size_t r = 0; r < n; ++r) c.read(r, from, c.whole.data() + c.offset(r));
    const int own = c.ranges.bytes[me];
    for (size_t r = 0; r < n; ++r) c.mine.bytes.push_back(own), c.mine.offsets.push_back(own * static_cast<int>(r));
    c.own.resize(c.bytes(me) * n);
    attempt([&] { mpi_->all_to_all(c.whole.data(), c.ranges, c.own.data(), c.mine, c.request); });
  };
  // Two chunks overlap: while this rank adds up one chunk, the ranks exchange the numbers of the next one.
  for (size_t i = 0; i < chunks.size(); ++i) {
    PartsChunk& c = chunks[i];
    if (i == 0) begin(c);
    wait(c.request);
    if (i + 1 < chunks.size()) begin(chunks[i + 1]);
    add(type, c.own.data(), c.bytes(me) / element_bytes(type), size_);
    c.write(me, into, c.own.data());
    c = PartsChunk();
  }
}

void RankGroup::all_gather(const SpansByRank& parts) {
  ++operations_;
  if (size_ == 1) return;
  const size_t n = static_cast<size_t>(size_), me = static_cast<size_t>(rank_);
  Lent<std::vector<PartsChunk>> lent;
  std::vector<PartsChunk>& chunks = *lent;
  chunks = PartsChunk::divide(parts, part_bytes(n));
  PartCursors from(parts), into(parts);
  const auto begin = [&](PartsChunk& c) {
    c.whole.resize(c.total()), c.own.resize(c.bytes(me));
    c.read(me, from, c.own.data());
    attempt([&] { mpi_->all_gather(c.own.data(), c.ranges.bytes[me], c.whole.data(), c.ranges, c.request); });
  };
  for (size_t i = 0; i < chunks.size(); ++i) {
    PartsChunk& c = chunks[i];
    if (i == 0) begin(c);
    wait(c.request);
    if (i + 1 < chunks.size()) begin(chunks[i + 1]);
    for (size_t r = 0; r < n; ++r)
      if (r != me) c.write(r, into, c.whole.data() + c.offset(r));
    c = PartsChunk();
  }
}

void RankGroup::broadcast(unsigned char* data, size_t bytes, int root) {
  ++operations_;
  for (size_t at = 0; at < bytes; at += most_bytes) {
    Mpi::Request request;
    attempt(
        [&] { mpi_->broadcast(data + at, static_cast<int>(std::min<size_t>(most_bytes, bytes - at)), root, request); });
    wait(request);
  }
}

std::vector<unsigned char> RankGroup::gather(const unsigned char* data, size_t bytes, std::vector<uint64_t>& lengths) {
  ++operations_;
  const size_t n = static_cast<size_t>(size_);
  Lent<Gathered> own;
  own->mine.assign(data, data + bytes);
  own->bytes = bytes;
  own->lengths.assign(n, 0);
  for (size_t r = 0; r < n; ++r) own->words.bytes.push_back(8), own->words.offsets.push_back(static_cast<int>(8 * r));
  Mpi::Request request;
  attempt([&] { mpi_->all_gather(&own->bytes, 8, own->lengths.data(), own->words, request); });
  wait(request);
  uint64_t total = 0;
  for (const uint64_t length : own->lengths) {
    own->parts.offsets.push_back(static_cast<int>(total));
    own->parts.bytes.push_back(static_cast<int>(length));
    total += length;
    if (length > most_bytes || total > most_bytes)
      throw invalid_argument(
          "gather: expected at most " + std::to_string(most_bytes) + " bytes of all ranks, got more");
  }
  own->all.resize(total);
  attempt([&] { mpi_->all_gather(own->mine.data(), static_cast<int>(bytes), own->all.data(), own->parts, request); });
  wait(request);
  lengths = std::move(own->lengths);
  return std::move(own->all);
}

void RankGroup::barrier() {
  ++operations_;
  Mpi::Request request;
  attempt([&] { mpi_->barrier(request); });
  wait(request);
}

// Waits for 300 ms before it ends the ranks, so that the launcher can forward the output of this process. The launcher
// may drop output that it has not read by then.
void RankGroup::abort(int code) {
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  mpi_->abort(code);
}

void RankGroup::close() {
  watch_->leave(operations_);
  while (!watch_->has_left()) {
    poll();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  mpi_->finalize();
}

}  // namespace heddle
