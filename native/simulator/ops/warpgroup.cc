// Section "Asynchronous Warpgroup Level Matrix Instructions" of the manual: wgmma. Also setmaxnreg. Each of the four
// warps computes its 16 of the 64 rows. A product reads shared memory and writes its sums at the latest possible
// moment: when its warp waits for its group.
#include "simulator/machine/decode.h"
#include "simulator/ops/small_floats.h"

namespace simulator {
namespace {

constexpr uint32_t a_by_descriptor = 1, a_transposed = 2, b_transposed = 4, bytes_8 = 8;  // flags
// i.immediate is N. The instruction's list in Kernel::operands has the N / 2 registers of the sums. If a is in
// registers, 4 more follow.

// "Matrix Descriptor Format": the start address, and the byte offsets of the leading and the stride dimension. Only the
// 128-byte swizzle without a base offset is modeled: its pattern begins at a multiple of 1024 bytes.
struct Tile {
  uint32_t start, leading, stride;
};
Tile tile_of(Warp& w, const Instruction& i, uint64_t descriptor) {
  if (descriptor >> 62 != 1) w.fail(i, "a descriptor with another swizzle than 128 bytes is not modeled");
  if (descriptor >> 49 & 7) w.fail(i, "a descriptor with a base offset is not modeled");
  if (descriptor & 0x3ff1c000c000c000u) w.fail(i, "a descriptor has reserved bits set");
  return {static_cast<uint32_t>(descriptor & 0x3fff) << 4, static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4,
      static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4};
}

// XORs bits 7 to 9 of an address into bits 4 to 6.
uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// Reads K columns of `rows` rows, from row `first` on, into `to[k * rows + r]`. Rows are indexed by M for a, and by N
// for b. "Shared Memory Matrix Layout" describes two layouts. K-major: an atom has 8 rows of 128 bytes, and atoms are
// `stride` bytes apart. MN-major (transposed): an atom has 8 lines of 64 elements, one line per k. Atoms are `stride`
// bytes apart along k, and `leading` bytes apart along M or N.
template <class T, class Convert>
void read_tile(Warp& w, const Instruction& i, const Tile& t, bool transposed, uint32_t first, uint32_t rows, uint32_t K,
    float* to, Convert convert) {
  constexpr uint32_t piece = 16 / sizeof(T);
  Shared& shared = w.block->shared;
  for (uint32_t outer = 0; outer < (transposed ? K : rows); ++outer)
    for (uint32_t inner = 0; inner < (transposed ? rows : K); inner += piece) {
      const uint32_t r = first + (transposed ? inner : outer), k = transposed ? outer : inner;
      const uint32_t logical = transposed
                                   ? t.start + r / 64 * t.leading + k / 8 * t.stride + k % 8 * 128 +
                                         r % 64 * static_cast<uint32_t>(sizeof(T))
                                   : t.start + r / 8 * t.stride + r % 8 * 128 + k * static_cast<uint32_t>(sizeof(T));
      const uint32_t address = swizzled(logical);
      // The checks need a lane. Any will do, because the whole warp issues the product.
      shared.read(w, i, static_cast<int>(outer % lanes), address, 16, Shared::Proxy::product);
      T values[piece];
      std::memcpy(values, shared.data(address), 16);
      for (uint32_t e = 0; e < piece; ++e)
        to[transposed ? outer * rows + inner + e : (inner + e) * rows + outer] = convert(values[e]);
    }
}

// Computes a product. "Register Fragments and Shared Memory Matrix Layouts": register r of a lane holds one sum. Its
// row is lane / 4 + 8 (r / 2 % 2) of the warp's 16. Its column is 8 (r / 4) + 2 (lane % 4) + r % 2.
void multiply(Warp& w, const AsyncProduct& p) {
  const Instruction& i = *p.instruction;
  const auto N = static_cast<uint32_t>(i.immediate), K = i.flags & bytes_8 ? 32u : 16u;
  const int32_t* list = w.kernel->operands.data() + i.first;
  const auto warp_row = static_cast<uint32_t>(w.index % 4 * 16);
  static std::vector<float> a, b, d;
  a.resize(16 * K), b.resize(size_t{N} * K), d.assign(size_t{16} * N, 0.0f);
  const Tile bt = tile_of(w, i, p.b);
  if (i.flags & bytes_8) {
    read_tile<uint8_t>(w, i, tile_of(w, i, p.a), false, warp_row, 16, K, a.data(), float_of_e4m3);
    read_tile<uint8_t>(w, i, bt, false, 0, N, K, b.data(), float_of_e4m3);
  } else {
    if (i.flags & a_by_descriptor) {
      read_tile<uint16_t>(w, i, tile_of(w, i, p.a), i.flags & a_transposed, warp_row, 16, K, a.data(), float_of_bf16);
    } else {
      // Register r of a holds columns k and k + 1 of row lane / 4 + 8 (r % 2). k is 2 (lane % 4) + 8 (r / 2).
      for (int r = 0; r < 4; ++r)
        for (int l = 0; l < lanes; ++l)
          for (int e = 0; e < 2; ++e)
            a[static_cast<size_t>((l % 4 * 2 + r / 2 * 8 + e) * 16 + l / 4 + r % 2 * 8)] =
                float_of_bf16(static_cast<uint16_t>(p.left[static_cast<size_t>(r * lanes + l)] >> 16 * e));
    }
    read_tile<uint16_t>(w, i, bt, i.flags & b_transposed, 0, N, K, b.data(), float_of_bf16);
  }
  if (p.add)
    for (uint32_t r = 0; r < N / 2; ++r) {
      const auto* from = w.get<uint32_t>(list[r]);
      for (uint32_t l = 0; l < lanes; ++l)
        d[(l / 4 + 8 * (r / 2 % 2)) * N + 8 * (r / 4) + 2 * (l % 4) + r % 2] = float_of_bits(from[l]);
    }
  for (uint32_t r = 0; r < 16; ++r)
    for (uint32_t k = 0; k < K; ++k) {
      const float left = a[k * 16 + r];
      const float* right = b.data() + size_t{k} * N;
      float* sum = d.data() + size_t{r} * N;
      for (uint32_t n = 0; n < N; ++n) sum[n] += left * right[n];
    }
  for (uint32_t r = 0; r < N / 2; ++r) {
    auto* to = w.at<uint32_t>(list[r]);
    for (uint32_t l = 0; l < lanes; ++l)
      to[l] = bits_of_float(d[(l / 4 + 8 * (r / 2 % 2)) * N + 8 * (r / 4) + 2 * (l % 4) + r % 2]);
  }
}

uint64_t uniform(Warp& w, const Instruction& i, int32_t offset) {
  uint64_t values[lanes];
  std::memcpy(values, w.read(offset), sizeof values);
  for (int l = 1; l < lanes; ++l)
    if (values[l] != values[0]) w.fail(i, "a descriptor differs between the threads of the warp");
  return values[0];
}

void issue(Warp& w, const Instruction& i) {
  w.need_all(i);
  if (!w.products_fenced) w.fail(i, "wgmma.fence is missing");
  if (w.full != all_lanes) w.fail(i, "expected a warp of 32 threads");
  AsyncProduct p;
  p.instruction = &i;
  const int32_t* list = w.kernel->operands.data() + i.first;
  p.a = i.flags & a_by_descriptor ? uniform(w, i, i.a) : 0;
  p.b = uniform(w, i, i.b);
  const uint32_t add = w.predicate(i.c);
  if (add != 0 && add != all_lanes) w.fail(i, "scale-d differs between the threads of the warp");
  p.add = add != 0;
  if (!(i.flags & a_by_descriptor))
    for (int r = 0; r < 4; ++r) {
      const auto* from = w.get<uint32_t>(list[i.immediate / 2 + r]);
      p.left.insert(p.left.end(), from, from + lanes);
    }
  for (const uint64_t part : {static_cast<uint64_t>(i.line), p.a, p.b, static_cast<uint64_t>(p.add)})
    w.products_issued = (w.products_issued ^ part) * 0x9e3779b97f4a7c15u + (w.products_issued >> 29);
  w.open_products.push_back(std::move(p));
}
void fence(Warp& w, const Instruction& i) {
  w.need_all(i);
  w.products_fenced = true;
}
void commit_group(Warp& w, const Instruction& i) {
  w.need_all(i);
  w.product_groups.push_back(std::move(w.open_products));
  w.open_products.clear();
}
void wait_group(Warp& w, const Instruction& i) {
  w.need_all(i);
  while (w.product_groups.size() > static_cast<size_t>(i.immediate)) {
    for (const AsyncProduct& p : w.product_groups.front()) multiply(w, p);
    w.product_groups.pop_front();
  }
  // The program may now access the registers of the sums, so the next product needs a fence.
  w.products_fenced = false;
}

void decode_wgmma(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  if (name == "fence.sync.aligned") i.run = &fence;
  if (name == "commit_group.sync.aligned") i.run = &commit_group;
  if (name == "wait_group.sync.aligned") i.run = &wait_group, i.immediate = static_cast<int64_t>(s.operands.at(0).bits);
  if (i.run || s.op.at(1) != "mma_async") return;
  const std::string shape = s.op.at(4), types = joined(s, 5);
  const size_t k = shape.find('k', 4);
  const int n = std::stoi(shape.substr(4));
  const bool bf16 = types == "f32.bf16.bf16" && shape.substr(k) == "k16";
  const bool e4m3 = types == "f32.e4m3.e4m3" && shape.substr(k) == "k32";
  if (!bf16 && !e4m3) return;
  i.immediate = n;
  const std::vector<Operand>& o = s.operands;
  const bool in_registers = o.at(1).kind == Operand::vector;
  const size_t fixed = bf16 ? (in_registers ? 1 : 2) : 0;  // number of transpose operands: one per descriptor of bf16
  if (o.size() != 6 + fixed || o[0].parts.size() != static_cast<size_t>(n) / 2) d.fail(s, "wrong number of operands");
  for (const Operand& sum : o[0].parts) d.list(i, d.target(sum, Width::b32));
  if (in_registers) {
    if (o[1].parts.size() != 4 || e4m3) d.fail(s, "wrong number of registers");
    for (const Operand& part : o[1].parts) d.list(i, d.source(part, Width::b32));
  } else {
    i.flags |= a_by_descriptor;
    i.a = d.source(o[1], Width::b64);
  }
  i.b = d.source(o[2], Width::b64);
  i.c = d.predicate(o[3]);
  if (o[4].bits != 1 || o[5].bits != 1) d.fail(s, "negated operands are not modeled");
  if (e4m3) i.flags |= bytes_8;
  if (fixed == 2 && o[6].bits) i.flags |= a_transposed;
  if (fixed && o[5 + fixed].bits) i.flags |= b_transposed;
  i.run = &issue;
}

// "setmaxnreg": .dec releases registers of the warp to the block. .inc waits until the block has enough.
void release_registers(Warp& w, const Instruction& i) {
  w.need_all(i);
  const int n = static_cast<int>(i.immediate);
  if (n > w.registers_each)
    w.fail(i, "expected at most the warp's " + std::to_string(w.registers_each) + " registers per thread, got " +
                  std::to_string(n));
  w.block->free_registers += w.registers_each - n;
  w.registers_each = n;
  ++progress;
}
void request_registers(Warp& w, const Instruction& i) {
  w.need_all(i);
  const int n = static_cast<int>(i.immediate), more = n - w.registers_each;
  if (more < 0)
    w.fail(i, "expected at least the warp's " + std::to_string(w.registers_each) + " registers per thread, got " +
                  std::to_string(n));
  if (w.block->free_registers < more) {
    --w.pc;  // runs the instruction again in the next turn
    w.yields = true;
    return;
  }
  w.block->free_registers -= more;
  w.registers_each = n;
  ++progress;
}
void decode_setmaxnreg(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  if (name == "inc.sync.aligned.u32") i.run = &request_registers;
  if (name == "dec.sync.aligned.u32") i.run = &release_registers;
  if (!i.run) return;
  i.immediate = static_cast<int64_t>(s.operands.at(0).bits);
  if (i.immediate < 24 || i.immediate > 256 || i.immediate % 8) d.fail(s, "expected a multiple of 8 from 24 to 256");
}

}  // namespace

void add_warpgroup_families(Families& f) {
  f["wgmma"] = &decode_wgmma;
  f["setmaxnreg"] = &decode_setmaxnreg;
}

}  // namespace simulator
