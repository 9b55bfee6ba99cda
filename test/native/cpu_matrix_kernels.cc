// Compares matrix products and attention of the active instruction set with their references.
#include "kernel_check.h"

namespace {

void linear_cases() {
  const int64_t shapes[][3] = {{1, 1, 1}, {1, 65, 33}, {3, 130, 19}, {5, 17, 300}, {8, 40, 257}, {9, 33, 31},
      {13, 100, 513}, {70, 257, 96}, {130, 64, 520}, {300, 600, 70}};
  for (const auto& s : shapes)
    for (const DType x : {f32, bf})
      for (const DType w : {f32, bf, f16_})
        for (const double transposed : {0.0, 1.0}) {
          const int64_t N = s[0], M = s[1], K = s[2];
          const std::string label = std::to_string(N) + "x" + std::to_string(M) + "x" + std::to_string(K) + " dtypes " +
                                    std::to_string(int(x)) + std::to_string(int(w)) + (transposed ? " transposed" : "");
          const std::vector<int64_t> wd = transposed ? std::vector<int64_t>{K, M} : std::vector<int64_t>{M, K};
          const bool bias = N % 2;
          for (const DType y : {f32, bf})
            check({"linear", label, {{"transposed", transposed}}, {filled(x, {N, K}), filled(w, wd), filled(w, {M})},
                {Buffer(y, {N, M})}, {true, true, bias}});
          check({"linear_backward_input", label, {{"transposed", transposed}}, {filled(x, {N, M}), filled(w, wd)},
              {Buffer(x, {N, K})}, {}});
          if (w == f32)
            check({"linear_backward_weight", label, {{"transposed", transposed}},
                {filled(x, {N, M}), filled(x, {N, K})}, {Buffer(f32, wd)}, {}});
        }
}

std::vector<std::pair<std::string, double>> attention_attributes(
    int64_t T, bool causal, int64_t window, double cap, double scale) {
  return {{"sequenceLength", T}, {"causal", causal}, {"window", window}, {"softcap", cap}, {"scale", scale}};
}

// Whether kernels round probabilities and score gradients to bf16 before they multiply them.
bool rounds_terms(DType t) { return t == bf && multiplies_bf16(); }

void attention_cases() {
  struct Shape {
    int64_t B, T, H, KH, D;
    bool causal;
    int64_t window;
    double cap;
  };
  // The keys and values of the last shape are too large to be copied at once (side_floats).
  const Shape shapes[] = {{1, 1, 1, 1, 8, true, 0, 0}, {2, 5, 2, 1, 16, true, 0, 0}, {1, 64, 4, 2, 64, true, 0, 0},
      {3, 77, 3, 3, 20, false, 0, 0}, {2, 150, 6, 2, 33, true, 0, 0}, {1, 200, 2, 1, 48, true, 37, 0},
      {1, 129, 2, 2, 64, true, 1, 0}, {1, 90, 2, 1, 80, true, 50, 2.0}, {1, 131, 1, 1, 128, false, 0, 1.5},
      {17, 70, 1, 1, 40, true, 0, 0}, {1, 2100, 2, 1, 256, true, 40, 0}};
  for (const Shape& s : shapes)
    for (const DType t : {f32, bf}) {
      const int64_t N = s.B * s.T;
      const auto attributes = attention_attributes(s.T, s.causal, s.window, s.cap, 3 / std::sqrt(double(s.D)));
      const std::string label = "B" + std::to_string(s.B) + " T" + std::to_string(s.T) + " H" + std::to_string(s.H) +
                                "/" + std::to_string(s.KH) + " D" + std::to_string(s.D) + " causal " +
                                std::to_string(s.causal) + " window " + std::to_string(s.window) + " dtype " +
                                std::to_string(int(t));
      Buffer q = filled(t, {N, s.H, s.D}, 2), k = filled(t, {N, s.KH, s.D}, 2), v = filled(t, {N, s.KH, s.D});
      Buffer o(t, {N, s.H, s.D}), lse(f32, {N, s.H});
      Case forward{"attention", label, attributes, {q, k, v}, {o, lse}, {}};
      forward.rounds_terms = rounds_terms(t);
      check(forward);
      Attributes list;
      for (const auto& a : attributes) list.set(a.first, a.second);
      std::vector<Buffer> in{q, k, v}, out{o, lse};
      Registry::find("attention")->reference(node_of(list, in, out, {true, true, true}));
      Case c{
          "attention_backward", label, attributes, {filled(t, {N, s.H, s.D}), q, k, v, out[0], out[1]}, {o, k, v}, {}};
      for (Buffer& b : c.out) b = Buffer(t, {b.t.shape[0], b.t.shape[1], b.t.shape[2]});
      // Score gradients are p (dp - delta). dp and delta are dot products of D rounded terms, and may cancel.
      c.floor = 4e-6;
      if (t == bf) {
        // delta = dot(do, o) inherits the rounding of o to bf16. The reference does not read o. The expected values are
        // therefore those of the f32 kernel for the same numbers. The f32 case compares that kernel with the reference.
        Case wide = c;
        for (Buffer& b : wide.in) b = widened(b);
        for (Buffer& b : wide.out) b = widened(b);
        run_kernel(wide);
        c.want = wide.out;
        c.tolerance = 5e-5;
        c.rounds_terms = rounds_terms(t);
      }
      check(c);
    }
}

void cached_attention_cases() {
  struct Shape {
    int64_t H, KH, D, L;
    bool causal;
    int64_t window;
    double cap;
    std::vector<std::vector<int32_t>> segments;  // first row, number of rows, slot, past
  };
  const Shape shapes[] = {{4, 2, 64, 100, true, 0, 0, {{0, 1, 1, 40}}},
      {3, 3, 20, 1500, true, 0, 0, {{0, 1, 2, 1400}, {1, 2, 0, 600}, {3, 70, 1, 3}, {73, 4, 3, 0}}},
      {6, 2, 33, 700, true, 25, 2.0, {{1, 1, 0, 690}, {2, 0, 0, 5}, {2, 3, 1, 30}, {5, 130, 2, 7}}},
      {2, 1, 128, 40000, true, 0, 0, {{0, 2, 0, 39000}}}, {2, 1, 16, 64, false, 0, 0, {{0, 3, 1, 20}, {3, 20, 0, 0}}}};
  for (const Shape& s : shapes)
    for (const DType t : {f32, bf})
      for (const DType cache : {f32, bf, f16_}) {
        int64_t N = 0;
        for (const auto& g : s.segments) N = std::max<int64_t>(N, g[0] + g[1]);
        Buffer segments(i32, {static_cast<int64_t>(s.segments.size()), 4});
        for (size_t g = 0; g < s.segments.size(); ++g)
          for (int i = 0; i < 4; ++i) segments.view().as<int32_t>()[g * 4 + i] = s.segments[g][i];
        Buffer o(t, {N, s.H, s.D});
        auto attributes = attention_attributes(1, s.causal, s.window, s.cap, 1 / std::sqrt(double(s.D)));
        Case c{"cached_attention",
            "L" + std::to_string(s.L) + " D" + std::to_string(s.D) + " dtypes " + std::to_string(int(t)) +
                std::to_string(int(cache)),
            attributes,
            {filled(t, {N, s.H, s.D}, 2), filled(cache, {4, s.KH, s.L, s.D}, 2), filled(cache, {4, s.KH, s.L, s.D}),
                segments},
            {o}, {}};
        c.rounds_terms = cache == bf && rounds_terms(t);
        check(c);
      }
}

}  // namespace

int main(int argc, char** argv) {
  return run_groups(
      {{"linear", linear_cases}, {"attention", attention_cases}, {"cached", cached_attention_cases}}, argc, argv);
}
