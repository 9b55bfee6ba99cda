// Section "Warp Level Matrix Instructions" of the manual: mma.sync and ldmatrix. In the comments below, g = lane / 4,
// t = lane % 4, and an element of a matrix is (row, column).
#include "simulator/machine/decode.h"
#include "simulator/ops/small_floats.h"

namespace simulator {
namespace {

// Adds the K products of each element to c, one after the other. The manual does not specify the order.
template <int K, class T, class Sum> void products(const T (&a)[16][K], const T (&b)[K][8], Sum (&c)[16][8]) {
  for (int r = 0; r < 16; ++r)
    for (int k = 0; k < K; ++k)
      for (int n = 0; n < 8; ++n) c[r][n] += static_cast<Sum>(a[r][k]) * static_cast<Sum>(b[k][n]);
}

// "Matrix Fragments for mma.m16n8k16" and others: c0 and c1 are (g, 2 t) and (g, 2 t + 1). c2 and c3 are the same
// columns of row g + 8.
template <class Sum> void read_sums(const Warp& w, const int32_t* list, Sum (&c)[16][8]) {
  for (int r = 0; r < 4; ++r) {
    const auto* from = w.get<uint32_t>(list[r]);
    for (int l = 0; l < lanes; ++l) c[l / 4 + r / 2 * 8][l % 4 * 2 + r % 2] = from_bits<Sum>(from[l]);
  }
}
template <class Sum> void write_sums(Warp& w, const int32_t* list, const Sum (&c)[16][8]) {
  for (int r = 0; r < 4; ++r) {
    auto* to = w.at<uint32_t>(list[r]);
    for (int l = 0; l < lanes; ++l) to[l] = to_bits<Sum>(c[l / 4 + r / 2 * 8][l % 4 * 2 + r % 2]);
  }
}

struct Bf16 {
  static float of(uint32_t bits) { return float_of_bf16(static_cast<uint16_t>(bits)); }
};
struct Half {
  static float of(uint32_t bits) { return float_of_half(static_cast<uint16_t>(bits)); }
};

// m16n8k16 with 16-bit elements. a0: (g, 2 t) and (g, 2 t + 1). a1: the same columns of row g + 8. a2 and a3: like a0
// and a1, 8 columns later. b0: rows 2 t and 2 t + 1 of column g. b1: 8 rows later.
template <class Element> void mma_16(Warp& w, const Instruction& i) {
  w.need_all(i);
  const int32_t* list = w.kernel->operands.data() + i.first;  // d 4, a 4, b 2, c 4
  float a[16][16], b[16][8], c[16][8];
  for (int r = 0; r < 4; ++r) {
    const auto* from = w.get<uint32_t>(list[4 + r]);
    for (int l = 0; l < lanes; ++l)
      for (int e = 0; e < 2; ++e) a[l / 4 + r % 2 * 8][l % 4 * 2 + r / 2 * 8 + e] = Element::of(from[l] >> 16 * e);
  }
  for (int r = 0; r < 2; ++r) {
    const auto* from = w.get<uint32_t>(list[8 + r]);
    for (int l = 0; l < lanes; ++l)
      for (int e = 0; e < 2; ++e) b[l % 4 * 2 + r * 8 + e][l / 4] = Element::of(from[l] >> 16 * e);
  }
  read_sums(w, list + 10, c);
  products(a, b, c);
  write_sums(w, list, c);
}

// m16n8k8 with tf32. a0: (g, t), a1: (g + 8, t), a2: (g, t + 4), a3: (g + 8, t + 4). b0: (t, g), b1: (t + 4, g). The
// lower 13 bits of an element are ignored.
void mma_tf32(Warp& w, const Instruction& i) {
  w.need_all(i);
  const int32_t* list = w.kernel->operands.data() + i.first;
  float a[16][8], b[8][8], c[16][8];
  for (int r = 0; r < 4; ++r) {
    const auto* from = w.get<uint32_t>(list[4 + r]);
    for (int l = 0; l < lanes; ++l) a[l / 4 + r % 2 * 8][l % 4 + r / 2 * 4] = float_of_bits(from[l] & ~0x1fffu);
  }
  for (int r = 0; r < 2; ++r) {
    const auto* from = w.get<uint32_t>(list[8 + r]);
    for (int l = 0; l < lanes; ++l) b[l % 4 + r * 4][l / 4] = float_of_bits(from[l] & ~0x1fffu);
  }
  read_sums(w, list + 10, c);
  products(a, b, c);
  write_sums(w, list, c);
}

// m16n8k16 with signed bytes. a0: columns 4 t to 4 t + 3 of row g. a1: the same columns of row g + 8. b0: rows 4 t to
// 4 t + 3 of column g.
void mma_s8(Warp& w, const Instruction& i) {
  w.need_all(i);
  const int32_t* list = w.kernel->operands.data() + i.first;  // d 4, a 2, b 1, c 4
  int8_t a[16][16], b[16][8];
  int32_t c[16][8];
  for (int r = 0; r < 2; ++r) {
    const auto* from = w.get<uint32_t>(list[4 + r]);
    for (int l = 0; l < lanes; ++l)
      for (int e = 0; e < 4; ++e) a[l / 4 + r * 8][l % 4 * 4 + e] = static_cast<int8_t>(from[l] >> 8 * e);
  }
  const auto* from = w.get<uint32_t>(list[6]);
  for (int l = 0; l < lanes; ++l)
    for (int e = 0; e < 4; ++e) b[l % 4 * 4 + e][l / 4] = static_cast<int8_t>(from[l] >> 8 * e);
  read_sums(w, list + 7, c);
  products(a, b, c);
  write_sums(w, list, c);
}

void decode_mma(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  size_t as = 4, bs = 2;
  if (name == "sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") i.run = &mma_16<Bf16>;
  if (name == "sync.aligned.m16n8k16.row.col.f32.f16.f16.f32") i.run = &mma_16<Half>;
  if (name == "sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32") i.run = &mma_tf32;
  if (name == "sync.aligned.m16n8k16.row.col.s32.s8.s8.s32") i.run = &mma_s8, as = 2, bs = 1;
  if (!i.run) return;
  const size_t sizes[] = {4, as, bs, 4};
  for (size_t n = 0; n < 4; ++n) {
    const Operand& o = s.operands.at(n);
    if (o.kind != Operand::vector || o.parts.size() != sizes[n]) d.fail(s, "wrong number of registers");
    for (const Operand& r : o.parts) d.list(i, n == 0 ? d.target(r, Width::b32) : d.source(r, Width::b32));
  }
}

// "ldmatrix": lane 8 m + r has the address of row r of matrix m. Register m of a lane gets elements 2 t and 2 t + 1 of
// row g of matrix m. With .trans, it gets those of column g.
template <bool transposed> void load_matrices(Warp& w, const Instruction& i) {
  w.need_all(i);
  const auto* base = w.get<uint32_t>(i.a);
  const int32_t* list = w.kernel->operands.data() + i.first;
  const int count = static_cast<int>(i.count);
  uint16_t rows[32][8];
  for (int l = 0; l < 8 * count; ++l) {
    const uint32_t address = base[l] + static_cast<uint32_t>(i.immediate);
    if (address % 16) w.fail(i, "a row that is not aligned to 16 bytes");
    w.block->shared.read(w, i, l, address, 16);
    std::memcpy(rows[l], w.block->shared.data(address), 16);
  }
  for (int m = 0; m < count; ++m) {
    auto* to = w.at<uint32_t>(list[m]);
    for (int l = 0; l < lanes; ++l) {
      const int g = l / 4, t = l % 4 * 2;
      const uint32_t low = transposed ? rows[8 * m + t][g] : rows[8 * m + g][t];
      const uint32_t high = transposed ? rows[8 * m + t + 1][g] : rows[8 * m + g][t + 1];
      to[l] = low | high << 16;
    }
  }
}
void decode_ldmatrix(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  if (name == "sync.aligned.m8n8.x4.shared.b16") i.run = &load_matrices<false>;
  if (name == "sync.aligned.m8n8.x4.trans.shared.b16") i.run = &load_matrices<true>;
  if (!i.run) return;
  const Operand& to = s.operands.at(0);
  if (to.kind != Operand::vector || to.parts.size() != 4) d.fail(s, "expected four registers");
  for (const Operand& r : to.parts) d.list(i, d.target(r, Width::b32));
  if (d.address(s.operands.at(1), i) != Width::b32) d.fail(s, "expected an address of 32 bits");
}

}  // namespace

void add_matrix_families(Families& f) {
  f["mma"] = &decode_mma;
  f["ldmatrix"] = &decode_ldmatrix;
}

}  // namespace simulator
