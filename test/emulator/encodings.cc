// Compares the matrix descriptors and tensor maps of the kernels of sm_90 with those of CUTLASS. The kernels run on the
// emulator, and each product and each tensor map is observed. So these tests fail too if a kernel and the emulator
// share a misreading of the manual.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "emulator/emulator.h"
#include "emulator/observer.h"
#include "encodings/descriptors.h"
#include "encodings/tensor_maps.h"
#include "kernels/attention.h"
#include "kernels/products.h"
#include "kernels/run.h"

using namespace heddle;
using namespace heddle::cases;
using namespace heddle::encodings;

namespace {

int failures = 0;
void fail(const std::string& what) {
  // A wrong encoding is wrong in every product. The first reports suffice.
  if (++failures <= 20) std::printf("FAILED %s\n", what.c_str());
}

std::string hex(uint64_t value) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return text;
}

// ---- matrix descriptors

constexpr uint64_t start_bits = 0x3fff, leading_bits = uint64_t{0x3fff} << 16;  // start: the address / 16
// The 128-byte swizzle repeats after 1024 bytes, so a tile begins at a multiple of that.
constexpr uint64_t tile_alignment = 1024;

// Returns how far the tile with this first descriptor is from tile_address, in bytes.
uint64_t distance(uint64_t first) { return ((first & start_bits) << 4) - tile_address; }

// Returns how the descriptors of a tile's steps differ from those of CUTLASS, or "".
std::string difference(const Tile& tile, const std::vector<uint64_t>& seen) {
  const uint64_t moved = distance(seen[0]), ignored = tile.one_atom ? leading_bits : 0;
  if (moved % tile_alignment) return "a tile that does not begin at a multiple of 1024: " + hex(seen[0]);
  for (size_t k = 0; k < seen.size(); ++k) {
    const uint64_t of_tile = tile.steps[k],
                   expected = (of_tile & ~start_bits) | ((of_tile + (moved >> 4)) & start_bits);
    if ((seen[k] ^ expected) & ~ignored)
      return "step " + std::to_string(k) + ": expected " + hex(expected) + ", got " + hex(seen[k]);
  }
  return "";
}

// One product of a kernel: all its steps along k.
struct Product {
  const char* kernel;  // name of the launch
  bool a_transposed, b_transposed;
  int n;
  const Tile* a;  // null: in registers
  const Tile* b;
  size_t steps;
  bool e4m3 = false;
  // Whether the warpgroups compute this product for different tiles in turn. Otherwise both compute it for one tile.
  bool alternate = false;
};

bool is_step_of(const Product& of, const std::string& kernel, const emulator::WarpgroupProduct& p) {
  return kernel == of.kernel && p.a_transposed == of.a_transposed && p.b_transposed == of.b_transposed && p.n == of.n &&
         !p.left == (of.a != nullptr) && p.e4m3 == of.e4m3;
}
std::string text_of(const std::string& kernel, const emulator::WarpgroupProduct& p) {
  return kernel + ", N = " + std::to_string(p.n) + (p.a_transposed ? ", MN-major a" : "") +
         (p.b_transposed ? ", MN-major b" : "") + (p.left ? ", a in registers" : "") + (p.e4m3 ? ", e4m3" : "");
}

struct Seen {
  std::string kernel;
  emulator::Dim3 block;
  int warpgroup;
  emulator::WarpgroupProduct product;
};

// Compares the products of a case, and requires each of `expected` to occur.
void compare_products(const std::string& name, const std::vector<Product>& expected, const std::vector<Seen>& seen) {
  // The steps of each warpgroup, in order.
  std::map<std::tuple<std::string, unsigned, unsigned, int>, std::vector<const emulator::WarpgroupProduct*>> sequences;
  for (const Seen& s : seen) sequences[{s.kernel, s.block.x, s.block.y, s.warpgroup}].push_back(&s.product);
  // The distances of a and b for each product, block and position in the sequence, by warpgroup.
  std::map<std::tuple<size_t, unsigned, unsigned, size_t>, std::map<int, std::pair<uint64_t, uint64_t>>> places;
  std::set<size_t> found;
  for (const auto& [key, steps] : sequences) {
    const auto& [kernel, x, y, warpgroup] = key;
    std::map<size_t, size_t> counts;
    for (size_t at = 0; at < steps.size();) {
      size_t which = 0;
      while (which < expected.size() && !is_step_of(expected[which], kernel, *steps[at])) ++which;
      if (which == expected.size()) return fail(name + ": no golden descriptors for " + text_of(kernel, *steps[at]));
      const Product& of = expected[which];
      std::vector<uint64_t> a, b;
      for (size_t k = 0; k < of.steps; ++k, ++at) {
        if (at == steps.size() || !is_step_of(of, kernel, *steps[at]))
          return fail(name + ": expected " + std::to_string(of.steps) + " steps of " + text_of(kernel, *steps[at - 1]) +
                      ", got " + std::to_string(k));
        a.push_back(steps[at]->a), b.push_back(steps[at]->b);
      }
      const std::string what = name + ", " + text_of(kernel, *steps[at - 1]);
      const std::string of_a = of.a ? difference(*of.a, a) : "", of_b = difference(*of.b, b);
      if (!of_a.empty()) fail(what + ", a, " + of_a);
      if (!of_b.empty()) fail(what + ", b, " + of_b);
      places[{which, x, y, counts[which]++}][warpgroup] = {of.a ? distance(a[0]) : 0, distance(b[0])};
      found.insert(which);
    }
  }
  for (size_t i = 0; i < expected.size(); ++i)
    if (!found.count(i)) fail(name + ": no product is number " + std::to_string(i) + " of the golden ones");
  for (const auto& [key, by_warpgroup] : places) {
    const Product& of = expected[std::get<0>(key)];
    if (of.alternate) continue;
    // The first warpgroup of a block copies tiles and issues no products.
    if (!by_warpgroup.count(1) || !by_warpgroup.count(2) || by_warpgroup.size() != 2) {
      fail(name + ": expected a product of two warpgroups in " + of.kernel);
      continue;
    }
    const auto &first = by_warpgroup.at(1), &second = by_warpgroup.at(2);
    if (of.a && second.first - first.first != of.a->between_warpgroups)
      fail(name + ", " + of.kernel + ": a of the second warpgroup is " + std::to_string(second.first - first.first) +
           " bytes after that of the first");
    if (second.second - first.second != of.b->between_warpgroups)
      fail(name + ", " + of.kernel + ": b of the second warpgroup is " + std::to_string(second.second - first.second) +
           " bytes after that of the first");
  }
}

// Checks that any wrong bit of a descriptor is noticed. The leading offset is an exception, because it has no effect in
// tiles of one atom.
void test_comparison() {
  for (const Tile* tile : {&k_64, &k_64x256, &mn_128x64, &mn_128x128, &mn_64x64, &mn_64x128}) {
    if (!difference(*tile, tile->steps).empty()) fail("comparison: a golden descriptor differs from itself");
    for (size_t k = 0; k < tile->steps.size(); ++k)
      for (int bit = 0; bit < 64; ++bit) {
        std::vector<uint64_t> seen = tile->steps;
        seen[k] ^= uint64_t{1} << bit;
        const bool ignored = tile->one_atom && (leading_bits >> bit & 1);
        if (difference(*tile, seen).empty() != ignored)
          fail("comparison: bit " + std::to_string(bit) + " of step " + std::to_string(k));
      }
  }
}

// ---- tensor maps

std::string text_of(const Map& m) {
  std::string text = "type " + std::to_string(m.type) + ", sizes";
  for (const uint64_t v : m.sizes) text += " " + std::to_string(v);
  text += ", strides";
  for (const uint64_t v : m.strides) text += " " + std::to_string(v);
  text += ", box";
  for (const uint32_t v : m.box) text += " " + std::to_string(v);
  return text;
}

// Returns the map as CUTLASS would give it, after a check of the arguments that are the same for all maps.
Map map_of(const std::string& name, const emulator::MapArguments& m) {
  if (m.interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || m.swizzle != CU_TENSOR_MAP_SWIZZLE_128B ||
      m.promotion != promotion_of_kernels || m.fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
    fail(name + ": interleave, swizzle, L2 promotion or fill of a tensor map");
  Map map{m.type, {m.dims, m.dims + m.rank}, {m.strides, m.strides + m.rank - 1}, {m.box, m.box + m.rank}};
  for (cuuint32_t i = 0; i < m.rank; ++i)
    if (m.element_strides[i] != 1) fail(name + ": an element stride of a tensor map");
  // CUTLASS puts the rows before the heads, because the box extends along rows. Maps of heddle have the heads first,
  // and kernels pass the coordinates in that order. Both orders give the same copies, because a box has one head.
  if (m.rank == 4) {
    std::swap(map.sizes[1], map.sizes[2]);
    std::swap(map.strides[0], map.strides[1]);
    std::swap(map.box[1], map.box[2]);
  }
  return map;
}

void compare_maps(const std::string& name, const std::set<Map>& expected, const std::set<Map>& seen) {
  for (const Map& m : seen)
    if (!expected.count(m)) fail(name + ": no golden tensor map is " + text_of(m));
  for (const Map& m : expected)
    if (!seen.count(m)) fail(name + ": expected a tensor map with " + text_of(m));
}

// ---- cases

struct Case {
  const char* name;
  std::function<Builder()> build;
  std::vector<Product> products;
  std::set<Map> maps;
};

Builder gated(int64_t N, int64_t K, int64_t M) {
  Builder b;
  const int x = b.floats(DType::bf16, {N, K}), w = b.floats(DType::bf16, {M, K}), up = b.floats(DType::bf16, {M, K});
  b.node("linear_glu", {x, w, up, -1, -1}, {b.value(DType::bf16, {N, M})}, {{"transposed", 0}, {"activation", 0}});
  return b;
}

std::vector<Case> all_cases() {
  return {
      {"wide tiles", [] { return linear(DType::bf16, 300, 328, 264, false); },
          {{"linear", false, false, 256, &k_64_by_rows, &k_64, 4},
              {"linear_backward_input", false, true, 256, &k_64_by_rows, &mn_128x64, 4},
              {"linear_backward_weight", true, true, 256, &mn_128x64_by_rows, &mn_128x64, 4}},
          {{bf16_type, {328, 300}, {656}, {64, 128}}, {bf16_type, {328, 264}, {656}, {64, 128}},
              {bf16_type, {264, 300}, {528}, {64, 16}}, {bf16_type, {264, 300}, {528}, {64, 128}},
              {bf16_type, {328, 264}, {656}, {64, 64}}, {bf16_type, {328, 300}, {656}, {64, 16}},
              {bf16_type, {264, 300}, {528}, {64, 64}}, {bf16_type, {328, 300}, {656}, {64, 64}}}},
      {"half tiles", [] { return linear(DType::bf16, 560, 200, 88, false); },
          {{"linear", false, false, 128, &k_64_by_rows, &k_64, 4},
              {"linear_backward_input", false, true, 128, &k_64_by_rows, &mn_128x64, 4}},
          {{bf16_type, {200, 560}, {400}, {64, 128}}, {bf16_type, {200, 88}, {400}, {64, 64}},
              {bf16_type, {88, 560}, {176}, {64, 16}}, {bf16_type, {88, 560}, {176}, {64, 128}},
              {bf16_type, {200, 560}, {400}, {64, 16}}}},
      {"gate", [] { return gated(300, 328, 264); }, {{"linear_glu", false, false, 128, &k_64_by_rows, &k_64, 4}},
          {{bf16_type, {328, 300}, {656}, {64, 128}}, {bf16_type, {328, 264}, {656}, {64, 64}}}},
      {"logits", [] { return logits(140, 72, 397); }, {{"token_logprob", false, false, 256, &k_64_by_rows, &k_64, 4}},
          {{bf16_type, {72, 140}, {144}, {64, 128}}, {bf16_type, {72, 397}, {144}, {64, 256}}}},
      {"e4m3", [] { return fp8(DType::f32, 300, 272, 264); },
          {{"fp8_linear", false, false, 128, &k_64_by_rows, &k_64, 4, true}},
          {{byte_type, {272, 300}, {272}, {128, 128}}, {byte_type, {272, 264}, {272}, {128, 128}}}},
      {"attention, heads of 40", [] { return attention(DType::bf16, 140, 2, 1, 40, 0); },
          {{"attention", false, false, 128, &k_64_by_rows, &k_64, 4},
              {"attention", false, true, 64, nullptr, &mn_64x128, 8},
              {"attention_backward", false, false, 64, &k_64_by_rows, &k_64, 4},
              {"attention_backward", false, true, 64, nullptr, &mn_64x64, 4},
              {"attention_backward", true, true, 64, &mn_64x128, &mn_64x128, 8, false, true}},
          {{bf16_type, {40, 140, 2, 2}, {160, 80, 22400}, {64, 128, 1, 1}},
              {bf16_type, {40, 140, 1, 2}, {80, 80, 11200}, {64, 128, 1, 1}},
              {bf16_type, {40, 140, 2, 2}, {160, 80, 22400}, {64, 64, 1, 1}}}},
      {"attention, heads of 96", [] { return attention(DType::bf16, 140, 2, 1, 96, 0); },
          {{"attention", false, false, 128, &k_128x128_by_rows, &k_128x128, 6},
              {"attention", false, true, 96, nullptr, &mn_128x128, 8},
              {"attention_backward", false, false, 64, &k_128x128_by_rows, &k_64x128, 6},
              {"attention_backward", false, true, 96, nullptr, &mn_128x64, 4},
              {"attention_backward", true, true, 64, &mn_64x128, &mn_128x128_by_rows, 8}},
          {{bf16_type, {96, 140, 2, 2}, {384, 192, 53760}, {64, 128, 1, 1}},
              {bf16_type, {96, 140, 1, 2}, {192, 192, 26880}, {64, 128, 1, 1}},
              {bf16_type, {96, 140, 2, 2}, {384, 192, 53760}, {64, 64, 1, 1}}}},
      {"attention, heads of 128", [] { return attention(DType::bf16, 140, 2, 1, 128, 0); },
          {{"attention", false, false, 128, &k_128x128_by_rows, &k_128x128, 8},
              {"attention", false, true, 128, nullptr, &mn_128x128, 8},
              {"attention_backward", false, false, 64, &k_128x128_by_rows, &k_64x128, 8},
              {"attention_backward", false, true, 128, nullptr, &mn_128x64, 4},
              {"attention_backward", true, true, 64, &mn_64x128, &mn_128x128_by_rows, 8}},
          {{bf16_type, {128, 140, 2, 2}, {512, 256, 71680}, {64, 128, 1, 1}},
              {bf16_type, {128, 140, 1, 2}, {256, 256, 35840}, {64, 128, 1, 1}},
              {bf16_type, {128, 140, 2, 2}, {512, 256, 71680}, {64, 64, 1, 1}}}},
      {"attention, heads of 256", [] { return attention_forward(280, 140, 2, 1, 256, 0, 0, false); },
          {{"attention", false, false, 64, &k_128x256_by_rows, &k_64x256, 16},
              {"attention", false, true, 128, nullptr, &mn_256x64_in_halves, 8}},
          {{bf16_type, {256, 140, 2, 2}, {1024, 512, 143360}, {64, 128, 1, 1}},
              {bf16_type, {256, 140, 1, 2}, {512, 512, 71680}, {64, 64, 1, 1}}}},
  };
}

void test_case(const Case& of, const std::shared_ptr<Accelerator>& device) {
  std::vector<Seen> products;
  std::set<Map> maps;
  emulator::observer().product = [&](const char* kernel, int warpgroup, const emulator::WarpgroupProduct& p) {
    products.push_back({kernel, emulator::block_index, warpgroup, p});
  };
  emulator::observer().map = [&](const emulator::MapArguments& m) { maps.insert(map_of(of.name, m)); };
  {
    Lane lane(1, device);
    run(of.build(), device, lane);
  }
  emulator::observer() = {};
  compare_products(of.name, of.products, products);
  compare_maps(of.name, of.maps, maps);
}

}  // namespace

int main() {
  setenv("HEDDLE_EMULATE_CUDA", "sm_90", 1);
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  test_comparison();
  try {
    const std::shared_ptr<Accelerator> device = open_cuda(0);
    for (const Case& c : all_cases()) test_case(c, device);
  } catch (const std::exception& e) {
    fail(e.what());
  }
  if (!failures) std::printf("the descriptors and tensor maps of sm_90 are those of CUTLASS\n");
  return failures ? 1 : 0;
}
