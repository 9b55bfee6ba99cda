// Compares log-probability, normalization, elementwise, row and optimizer kernels of the active instruction set with
// their references.
#include "kernel_check.h"

namespace {

const DType activations[] = {f32, bf};
std::string tag(DType t) { return dtype_name(t); }

void logprob_cases() {
  struct Shape {
    int64_t N, C, V;
    double cap, scale;
  };
  const Shape shapes[] = {
      {1, 16, 40, 0, 1}, {7, 33, 300, 0, 0.5}, {60, 64, 2500, 0, 1}, {530, 24, 2100, 0, 1}, {40, 48, 500, 4, 2}};
  for (const Shape& s : shapes)
    for (const DType h : activations)
      for (const DType w : {f32, bf, f16_}) {
        const std::string label =
            std::to_string(s.N) + "x" + std::to_string(s.C) + "x" + std::to_string(s.V) + " " + tag(h) + " " + tag(w);
        const std::vector<std::pair<std::string, double>> attributes = {{"softcap", s.cap}, {"scale", s.scale}};
        Buffer x = filled(h, {s.N, s.C}), table = filled(w, {s.V, s.C}), targets = indices(s.N, s.V, s.N > 5),
               upstream = filled(f32, {s.N});
        Buffer logprob(f32, {s.N}), lse(f32, {s.N});
        check({"token_logprob", label, attributes, {x, table, targets}, {logprob, lse}, {}});
        Attributes list;
        for (const auto& a : attributes) list.set(a.first, a.second);
        std::vector<Buffer> in{x, table, targets}, out{logprob, lse};
        Registry::find("token_logprob")->reference(node_of(list, in, out, {true, true, true}));
        Case c{"token_logprob_backward", label, attributes, {upstream, x, table, targets, out[1]},
            {Buffer(h, {s.N, s.C}), Buffer(f32, {s.V, s.C})}, {}};
        c.floor = 1e-6;
        // bf16 products round the gradients of the logits to bf16, with a relative error of up to 2^-8.
        if (h == bf && w == bf && multiplies_bf16()) c.tolerance = 1.0 / 128;
        check(c);
      }
}

void norm_cases() {
  for (const DType t : activations)
    for (const DType w : {f32, bf, f16_})
      for (const auto& s : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {130, 64}, {37, 576}, {600, 33}})
        for (const bool residual : {false, true}) {
          const int64_t N = s.first, C = s.second;
          const std::string label =
              std::to_string(N) + "x" + std::to_string(C) + " " + tag(t) + " " + tag(w) + (residual ? " residual" : "");
          std::vector<Buffer> out{Buffer(t, {N, C})};
          if (residual) out.push_back(Buffer(t, {N, C}));
          Buffer x = filled(t, {N, C}), r = filled(t, {N, C}), gain = filled(w, {C}), bias = filled(w, {C});
          check({"rms_norm", label, {{"eps", 1e-5}, {"offset", double(residual)}}, {x, gain, r}, out,
              {true, true, residual}});
          Case layer{"layer_norm", label, {{"eps", 1e-5}}, {x, gain, bias, r}, out, {true, true, N % 2 == 1, residual}};
          // With one column, h - mean is only a rounding error, which 1 / sqrt(eps) amplifies.
          layer.floor = C == 1 ? 2e-3 : 1e-6;
          check(layer);
          Case back{"rms_norm_backward", label, {{"eps", 1e-5}, {"offset", 1}}, {x, r, gain, filled(t, {N, C})},
              {Buffer(t, {N, C}), Buffer(f32, {C})}, {true, true, true, residual}};
          back.floor = 1e-5;  // because g - h * projection may cancel
          check(back);
          Case layer_back{"layer_norm_backward", label, {{"eps", 1e-5}}, {x, r, gain, filled(t, {N, C})},
              {Buffer(t, {N, C}), Buffer(f32, {C}), Buffer(f32, {C})}, {true, true, true, residual}};
          layer_back.floor = C == 1 ? 2e-3 : 1e-5;
          check(layer_back);
        }
}

void elementwise_cases() {
  for (const DType t : activations)
    for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{33}, int64_t{1000}, int64_t{100003}}) {
      const std::string label = std::to_string(n) + " " + tag(t);
      const auto y = [&] { return Buffer(t, {n}); };
      check({"add", label, {}, {filled(t, {n}), filled(t, {n})}, {y()}, {}});
      check({"mul", label, {}, {filled(t, {n}), filled(t, {n})}, {y()}, {}});
      check({"affine", label, {{"factor", 1.7}, {"offset", 0.3}}, {filled(t, {n})}, {y()}, {}});
      for (const double a : {0.0, 1.0, 2.0}) {
        Case glu{"glu", label + " activation " + std::to_string(int(a)), {{"activation", a}},
            {filled(t, {n}, 6), filled(t, {n})}, {y()}, {}};
        glu.floor = 2e-6;  // erf has an absolute error of 1.5e-7, which is multiplied by x
        check(glu);
        Case back{"glu_backward", glu.label, glu.attributes, {filled(t, {n}), filled(t, {n}, 6), filled(t, {n})},
            {y(), y()}, {}};
        back.floor = 2e-6;
        check(back);
      }
      for (const double tanh : {0.0, 1.0}) {
        Case gelu{"gelu", label, {{"tanh", tanh}}, {filled(t, {n}, 6)}, {y()}, {}};
        gelu.floor = 2e-6;
        check(gelu);
        Case back{"gelu_backward", label, {{"tanh", tanh}}, {filled(t, {n}), filled(t, {n}, 6)}, {y()}, {}};
        back.floor = 2e-6;
        check(back);
      }
      for (const DType to : {f32, bf, f16_})
        check({"cast", label + " to " + tag(to), {}, {filled(t, {n}, 300)}, {Buffer(to, {n})}, {}, 5e-4});
      check({"cast", label + " from f16", {}, {filled(f16_, {n}, 300)}, {y()}, {}});
      Case sum{"sum", label, {}, {filled(t, {n})}, {Buffer(f32, {1})}, {}};
      sum.floor = 1e-7 * std::sqrt(double(n));
      check(sum);
      check({"broadcast", label, {}, {filled(f32, {1})}, {y()}, {}});
      for (const float keep : {0.0f, 1.0f, 0.5f}) {
        Buffer k(f32, {1}), state = filled(f32, {n});
        k.view().as<float>()[0] = keep;
        if (keep == 0) state.view().as<float>()[0] = NAN;
        check({"accumulate", label, {}, {state, filled(t, {n}), k}, {}, {}});
      }
      for (const double decay : {0.0, 1.0}) {
        Buffer hyper(f32, {7}), factor(f32, {1}), v = filled(f32, {n});
        const float values[] = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.271f, 0.002997f};
        for (int i = 0; i < 7; ++i) hyper.view().as<float>()[i] = values[i];
        factor.view().as<float>()[0] = 0.7f;
        for (int64_t i = 0; i < n; ++i) v.view().as<float>()[i] = std::fabs(v.view().as<float>()[i]);
        check({"adamw", label, {{"decay", decay}},
            {filled(t, {n}), filled(f32, {n}), filled(f32, {n}), v, hyper, factor}, {}, {}});
      }
    }
  for (const int count : {1, 3}) {
    std::vector<Buffer> in;
    for (int i = 0; i < count; ++i) in.push_back(filled(f32, {20001 + i, 3}));
    check({"global_norm", std::to_string(count), {}, in, {Buffer(f32, {1})}, {}});
  }
}

void row_cases() {
  for (const DType t : activations)
    for (const auto& s : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {130, 64}, {37, 577}, {5, 3001}}) {
      const int64_t N = s.first, C = s.second;
      const std::string label = std::to_string(N) + "x" + std::to_string(C) + " " + tag(t);
      check({"softmax", label, {}, {filled(t, {N, C}, 8)}, {Buffer(t, {N, C})}, {}});
      check({"softmax_backward", label, {}, {filled(t, {N, C}), filled(t, {N, C})}, {Buffer(t, {N, C})}, {}});
      check({"log_softmax", label, {}, {filled(t, {N, C}, 8)}, {Buffer(t, {N, C})}, {}});
      Case column{"column_sum", label, {}, {filled(t, {N, C})}, {Buffer(f32, {C})}, {}};
      column.floor = 1e-6;
      check(column);
      for (const DType table : {f32, bf, f16_})
        check({"embedding", label + " " + tag(table), {{"scale", 1.5}}, {filled(table, {50, C}), indices(N, 50)},
            {Buffer(t, {N, C})}, {}});
      check({"embedding_backward", label, {{"scale", 1.5}}, {filled(t, {N, C}), indices(N, 50)}, {Buffer(f32, {50, C})},
          {}});
      check({"embedding_backward", label + ", added to another gradient", {{"scale", 1.5}},
          {filled(t, {N, C}), indices(N, 50), filled(f32, {50, C})}, {Buffer(f32, {50, C})}, {}});
      check({"gather_rows", label, {}, {filled(t, {40, C}), indices(N, 40)}, {Buffer(t, {N, C})}, {}});
      check({"segment_sum", label, {}, {filled(t, {N, C}), indices(N, 40)}, {Buffer(t, {40, C})}, {}});
      check({"split", label, {}, {filled(t, {N, 3 * C + 5})},
          {Buffer(t, {N, C}), Buffer(t, {N, 5}), Buffer(t, {N, 2 * C})}, {}});
      check({"concat", label, {}, {filled(t, {N, C}), filled(t, {N, 5}), filled(t, {N, 2 * C})},
          {Buffer(t, {N, 3 * C + 5})}, {}});
    }
  struct Rotary {
    int64_t N, H, D, R;
  };
  for (const DType t : activations)
    for (const Rotary& s : {Rotary{1, 1, 2, 2}, {9, 3, 20, 20}, {40, 4, 64, 64}, {33, 2, 80, 32}, {70, 2, 48, 46}})
      for (const int order : {0, 1, 2, 3})
        for (const double inverse : {0.0, 1.0}) {
          Buffer inv_freq(f32, {s.R / 2});
          for (int64_t j = 0; j < s.R / 2; ++j)
            inv_freq.view().as<float>()[j] = std::pow(10000.0f, -2.0f * float(j) / float(s.R));
          Case c{"rope", std::to_string(s.D) + "/" + std::to_string(s.R) + " " + tag(t),
              {{"interleaved", order % 2}, {"interleaved_out", order / 2}, {"scale", 1.25}, {"inverse", inverse}},
              {filled(t, {s.N, s.H, s.D}), indices(s.N, 131072), inv_freq}, {Buffer(t, {s.N, s.H, s.D})}, {}};
          c.floor = 5e-7;
          check(c);
        }
  for (const DType t : activations)
    for (const DType cache : {f32, bf, f16_}) {
      Buffer segments(i32, {3, 4});
      const int32_t rows[] = {0, 3, 1, 4, 3, 0, 0, 0, 5, 30, 0, 10};
      for (int i = 0; i < 12; ++i) segments.view().as<int32_t>()[i] = rows[i];
      check({"cache_write", tag(t) + " to " + tag(cache), {},
          {filled(cache, {2, 3, 50, 20}), filled(t, {40, 3, 20}), segments}, {}, {}, 5e-4});
    }
}

}  // namespace

int main(int argc, char** argv) {
  return run_groups(
      {{"logprob", logprob_cases}, {"norm", norm_cases}, {"elementwise", elementwise_cases}, {"rows", row_cases}}, argc,
      argv);
}
