#include "cpu/weights/weight_cast.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

#include "core/round.h"
#include "ops/quant.h"

namespace heddle {
namespace {

// Size of a tile: `band` rows of `across` elements, which is a multiple of every type's block. Tiles serve views such
// as transposed matrices: the elements of a row are far apart in the source, and those of a column are close together.
// Rows of a tile are padded to `pitch`. Rows a power of two apart would compete for few cache sets.
constexpr int64_t band = 64, across = 256, pitch = across + 16;

// A thread's buffer, kept between tiles and runs.
struct Buffers {
  alignas(64) uint8_t raw[std::max(weight_run, band* pitch) * sizeof(float)];
};
Buffers& thread_buffers() {
  static thread_local const std::unique_ptr<Buffers> buffers(new Buffers);
  return *buffers;
}

// Adds up the findings of several threads.
class Tally {
 public:
  void add(const CastFindings& found) {
    if (found.overflows) overflows_ += found.overflows;
    if (found.not_finite) not_finite_ += found.not_finite;
  }
  CastFindings all() const { return {overflows_, not_finite_}; }

 private:
  std::atomic<int64_t> overflows_{0}, not_finite_{0};
};

// Returns the source offset of element `index` of the view's dimensions [from, to).
int64_t offset_of(const WeightView& v, int from, int to, int64_t index) {
  int64_t offset = 0;
  for (int d = to - 1; d >= from; --d) offset += index % v.sizes[d] * v.strides[d], index /= v.sizes[d];
  return offset;
}

// Returns a pointer to n elements of the view from `begin` on if they are contiguous in an array in memory. Otherwise
// returns null, and they must be read.
const uint8_t* in_place(const WeightCast& c, int64_t begin, int64_t n) {
  const int64_t length = c.view.sizes[c.view.rank - 1];
  if (c.source.storage != WeightSource::Storage::plain || c.source.stored.file || begin % length + n > length)
    return nullptr;
  const int64_t at = c.view.start + offset_of(c.view, 0, c.view.rank - 1, begin / length) + begin % length;
  return c.source.stored.bytes + c.source.stored_bytes(at);
}

CastFindings cast_stretch(const WeightCast& c, int64_t begin, int64_t n) {
  uint8_t* out = c.out + bytes_of_elements(c.to, begin - c.first);
  const WeightView& v = c.view;
  const DType type = c.source.type;
  if (const uint8_t* raw = in_place(c, begin, n)) return cast_run(raw, type, out, c.to, c.addend, n);
  uint8_t* raw = thread_buffers().raw;
  const int64_t length = v.sizes[v.rank - 1];
  CastFindings found;
  for (int64_t done = 0; done < n;) {
    const int64_t row = (begin + done) / length, within = (begin + done) % length,
                  some = std::min(length - within, n - done);
    found.add(
        c.source.read(v.start + offset_of(v, 0, v.rank - 1, row) + within, some, raw + bytes_of_elements(type, done)));
    done += some;
  }
  const CastFindings of_run = cast_run(raw, type, out, c.to, c.addend, n);
  found.overflows += of_run.overflows;
  found.not_finite = of_run.not_finite;  // replaces the count of read(), which has seen the same elements
  return found;
}

// Copies (rows, count) elements from `lying` to `to`. Rows are `apart` elements apart in the source, and `pitch` in
// `to`. Element t of a row is at offsets[t]. T is any type of the element size.
template <class T>
void gather(const uint8_t* lying, const int64_t* offsets, int64_t count, int64_t rows, int64_t apart, uint8_t* to) {
  T* out = reinterpret_cast<T*>(to);
  for (int64_t t = 0; t < count; ++t) {
    const uint8_t* from = lying + offsets[t] * static_cast<int64_t>(sizeof(T));
    for (int64_t r = 0; r < rows; ++r, from += apart * static_cast<int64_t>(sizeof(T)))
      std::memcpy(&out[r * pitch + t], from, sizeof(T));
  }
}

// Converts rows with strided elements: transposed and interleaved matrices.
class Tiles {
 public:
  explicit Tiles(const WeightCast& c) : c_(c), v_(c.view), along_(c.view.along()), length_(c.view.row_length()) {
    bands_ = ceil_div(v_.sizes[along_], band);
    all_parts_ = ceil_div(length_, across);
    const int64_t last = c.first + c.count - 1;
    first_band_ = band_of(c.first), first_part_ = c.first % length_ / across;
    in_use_ = band_of(last) + 1 - first_band_;
    // The range may be shorter than a row and wrap around its end.
    parts_ = std::min(
        all_parts_, (last / length_ - c.first / length_) * all_parts_ + last % length_ / across - first_part_ + 1);
  }
  int64_t count() const { return parts_ * in_use_; }

  CastFindings cast(int64_t tile) const {
    const int64_t in_all = first_band_ + tile % in_use_, part = (first_part_ + tile / in_use_) % all_parts_;
    const int64_t block = in_all / bands_, begin = part * across, n = std::min(across, length_ - begin),
                  end = c_.first + c_.count;
    int64_t row = in_all % bands_ * band, rows = std::min(band, v_.sizes[along_] - row);
    int64_t at = (block * v_.sizes[along_] + row) * length_ + begin;  // index in the view
    // The range may contain only a few of a band's rows.
    if (at >= end) return {};
    rows = std::min(rows, (end - 1 - at) / length_ + 1);
    const int64_t before = c_.first < at + n ? 0 : (c_.first - at - n) / length_ + 1;
    if (before >= rows) return {};
    row += before, rows -= before, at += before * length_;
    int64_t offsets[across];
    for (int64_t t = 0; t < n; ++t) offsets[t] = offset_of(v_, along_ + 1, v_.rank, begin + t);
    const DType type = c_.source.type;
    const int64_t from = v_.start + offset_of(v_, 0, along_, block) + row * v_.strides[along_];
    const uint8_t* lying = c_.source.stored.lying() + c_.source.stored_bytes(from);
    uint8_t* raw = thread_buffers().raw;
    if (dtype_bytes(type) == 4) gather<uint32_t>(lying, offsets, n, rows, v_.strides[along_], raw);
    else gather<uint16_t>(lying, offsets, n, rows, v_.strides[along_], raw);
    CastFindings found;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t begins = std::max(c_.first, at + r * length_), ends = std::min(end, at + r * length_ + n);
      if (begins >= ends) continue;
      const uint8_t* of_row = raw + bytes_of_elements(type, r * pitch + begins - (at + r * length_));
      found.add(cast_run(
          of_row, type, c_.out + bytes_of_elements(c_.to, begins - c_.first), c_.to, c_.addend, ends - begins));
    }
    return found;
  }

 private:
  // Returns the number of the band of an element. Bands are numbered consecutively over all blocks.
  int64_t band_of(int64_t element) const {
    const int64_t row = element / length_;
    return row / v_.sizes[along_] * bands_ + row % v_.sizes[along_] / band;
  }

  const WeightCast& c_;
  const WeightView& v_;
  int along_;
  // first_band_, in_use_, first_part_ and parts_ select the bands and parts that have elements of the range.
  int64_t length_, bands_, all_parts_, first_band_, in_use_, first_part_, parts_;
};

}  // namespace

int64_t WeightView::count() const {
  int64_t n = 1;
  for (int d = 0; d < rank; ++d) n *= sizes[d];
  return n;
}

int WeightView::along() const {
  int found = 0;
  for (int d = 1; d < rank - 1; ++d)
    if (strides[d] < strides[found]) found = d;
  return found;
}

int64_t WeightView::row_length() const {
  int64_t n = 1;
  for (int d = along() + 1; d < rank; ++d) n *= sizes[d];
  return n;
}

WeightView WeightView::merged() const {
  WeightView v;
  v.start = start;
  for (int d = 0; d < rank; ++d) {
    if (sizes[d] == 1) continue;
    const int last = v.rank - 1;
    if (last >= 0 && v.strides[last] == sizes[d] * strides[d]) v.sizes[last] *= sizes[d], v.strides[last] = strides[d];
    else v.sizes[v.rank] = sizes[d], v.strides[v.rank++] = strides[d];
  }
  if (v.rank == 0) v.sizes[v.rank] = 1, v.strides[v.rank++] = 1;
  if (v.rank == 1 && v.strides[0] != 1) {  // a single strided row
    v.sizes[1] = v.sizes[0], v.strides[1] = v.strides[0];
    v.sizes[0] = 1, v.strides[0] = 0, v.rank = 2;
  }
  return v;
}

CastFindings cast_weights(const WeightCast& c, Pool& pool) {
  // Throws for a type that cannot be written, before anything is written.
  if (is_quantized(c.to) && !(c.source.type == c.to && c.addend == 0)) quantize(c.to, nullptr, 0, nullptr);
  if (c.count == 0) return {};
  Tally tally;
  if (c.view.in_stretches()) {
    pool.run(ceil_div(c.count, weight_run), [&](int64_t i, int) {
      tally.add(cast_stretch(c, c.first + i * weight_run, std::min(weight_run, c.count - i * weight_run)));
    });
  } else {
    const Tiles tiles(c);
    pool.run(tiles.count(), [&](int64_t i, int) { tally.add(tiles.cast(i)); });
    c.source.stored.check();
  }
  return tally.all();
}

}  // namespace heddle
