// Small cases of kernels with shared memory, tiles and pipelines, compared with their references. They run on a GPU, or
// on the emulated device in several orders of events. mutants.mjs links each mutation with this program.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/attention.h"
#include "kernels/products.h"
#include "kernels/rows.h"
#include "kernels/run.h"

using namespace heddle;
using namespace heddle::cases;

namespace {

struct Case {
  const char* name;  // mutants.mjs selects cases by prefix
  Builder (*build)();
  const char* check = "1";  // HEDDLE_CHECK
};
// HEDDLE_CHECK for results that must be as accurate as f32. `exact` allows an error of 32 * 2^-24, because a sum of
// some hundred products depends on their order. exact_on_hardware allows more, because the tensor cores of GPUs
// truncate sums, whereas the emulator rounds them.
constexpr const char *exact = "1.9e-6", *exact_on_hardware = "1e-5";

int run_all(const std::string& beginning, bool first_failure) {
  setenv("HEDDLE_EMULATE_CUDA", "1", 1);
  const std::vector<Case> everywhere = {
      {"linear f32", [] { return linear(DType::f32, 70, 37, 66, false); }},
      {"linear f32, transposed", [] { return linear(DType::f32, 9, 20, 70, true); }},
      {"linear f32, few rows", [] { return linear(DType::f32, 3, 70, 20, false); }},
      {"linear f32, few rows, whole 16-byte loads", [] { return linear(DType::f32, 4, 328, 20, false); }},
      {"linear bf16, few rows, whole 16-byte loads", [] { return linear(DType::bf16, 2, 264, 20, false); }},
      {"linear bf16, few rows, several loads in flight", [] { return linear(DType::bf16, 2, 1288, 12, false); }},
      {"linear bf16", [] { return linear(DType::bf16, 72, 208, 80, false); }},
      {"linear bf16, odd columns", [] { return linear(DType::bf16, 72, 72, 37, false); }},
      {"linear bf16, transposed", [] { return linear(DType::bf16, 80, 72, 136, true); }},
      // The only stage of a product is the ring's first, where the sums are staged too.
      {"linear bf16, transposed, one stage", [] { return linear(DType::bf16, 40, 56, 48, true); }},
      {"linear f32, split k", [] { return linear(DType::f32, 20, 1100, 30, false); }},
      {"linear bf16, split k", [] { return linear(DType::bf16, 24, 1096, 40, false); }},
      {"linear bf16, split k, gradient of the input", [] { return linear(DType::bf16, 16, 24, 1096, true); }},
      {"linear bf16, split k, gradient of the weight", [] { return linear(DType::bf16, 1090, 24, 16, false); }},
      // Five stages of k wrap the ring of three. The input's gradient has k = 304, and the weight's k = 140.
      {"linear bf16, wide tiles", [] { return linear(DType::bf16, 140, 264, 304, false); }},
      {"linear bf16, wide tiles, transposed", [] { return linear(DType::bf16, 140, 264, 304, true); }},
      {"epilogue bf16, wide tiles", [] { return ended(DType::bf16, 140, 264, 304); }},
      {"linear bf16, split k, large tiles", [] { return linear(DType::bf16, 72, 1544, 80, false); }},
      {"epilogue f32", [] { return ended(DType::f32, 70, 37, 66); }},
      {"epilogue f32, few rows", [] { return ended(DType::f32, 3, 70, 20); }},
      {"epilogue f32, split k", [] { return ended(DType::f32, 20, 1100, 30); }},
      {"epilogue bf16, few rows", [] { return ended(DType::bf16, 2, 264, 24); }},
      {"epilogue bf16, few rows, several loads in flight", [] { return ended(DType::bf16, 1, 1288, 12); }},
      {"epilogue bf16", [] { return ended(DType::bf16, 72, 208, 88); }},
      {"epilogue bf16, odd columns", [] { return ended(DType::bf16, 40, 72, 37); }},
      {"epilogue bf16, split k", [] { return ended(DType::bf16, 24, 1096, 40); }},
      {"epilogue bf16, split k, large tiles", [] { return ended(DType::bf16, 72, 1544, 80); }},
      {"norms", [] { return norms(11, 300); }},
      {"norms, a row for each warp", [] { return norms(70, 304); }},
      {"norms, several warps a row", [] { return norms(70, 520); }},
      {"norms, two vectors a thread", [] { return norms(3, 2056); }},
      // The shared memory of a block has one stage of the gradients' operands.
      {"norms, four vectors a thread", [] { return norms(3, 8184); }},
      {"norms, long rows", [] { return norms(2, 8216); }},
      {"attention", [] { return attention(DType::f32, 37, 4, 2, 20, 0); }},
      {"attention, window", [] { return attention(DType::f32, 60, 2, 2, 70, 30); }},
      {"cached attention", [] { return cached(300, 40, 3); }},
      {"cached attention, splits in one block", [] { return cached(300, 40, 5); }},
      {"attention bf16", [] { return attention(DType::bf16, 150, 2, 1, 40, 0); }},
      // The last block of a sequence has only padding, which sees no keys.
      {"attention bf16, documents, bidirectional", [] { return packed(DType::bf16, 200, 2, 1, 40, false); }},
      {"attention bf16, documents, heads of 256", [] { return packed(DType::bf16, 200, 1, 1, 256, true, 0, false); }},
      {"attention bf16, documents, heads of 72", [] { return packed(DType::bf16, 200, 2, 1, 72, true); }},
      {"attention, documents", [] { return packed(DType::f32, 40, 2, 1, 20, true); }},
      {"attention bf16, window, sinks", [] { return attention(DType::bf16, 150, 2, 2, 72, 40, true); }},
      {"cached attention, q8 ring", [] { return cached_q8(37); }},
      {"cached attention in pages, splits", [] { return paged(DType::bf16, 16, 300, 40, 1); }},
      {"cached attention in pages, q8", [] { return paged(DType::u8, 5, 37, 20, 3); }},
      {"cached tensor, bf16, splits", [] { return cached(600, 64, 2, DType::bf16, DType::bf16); }},
      {"cached tensor, f32 over bf16, splits in one block", [] { return cached(430, 72, 9, DType::f32, DType::bf16); },
          exact},
      {"cached tensor, f32 over f16", [] { return cached(150, 40, 9, DType::f32, DType::f16); }, exact},
      {"cached tensor, heads of 256", [] { return cached(250, 256, 5, DType::bf16, DType::bf16); }},
      {"cached tensor, window, sinks, splits", [] { return cached_window(DType::bf16, DType::bf16, 40, 1, 1, 0); }},
      {"cached tensor, window, sinks, cap", [] { return cached_window(DType::bf16, DType::f16, 64, 6, 2, 3); }},
      {"cached tensor, pages, splits", [] { return paged(DType::bf16, 16, 300, 96, 1, DType::bf16); }},
      {"cached tensor, pages", [] { return paged(DType::bf16, 7, 150, 128, 9, DType::bf16); }},
      {"cached tensor, pages, q8", [] { return paged(DType::u8, 5, 237, 64, 3, DType::bf16); }},
      {"cached tensor, pages, f32 over q8", [] { return paged(DType::u8, 16, 437, 96, 1); }, exact},
      {"cached prompts", [] { return prompts(DType::bf16, DType::bf16, 4, 2, 64, {}); }},
      {"cached prompts, ring, heads of 96",
          [] { return prompts(DType::bf16, DType::bf16, 4, 2, 96, {50, 0, 0, true}); }},
      {"cached prompts, pages, heads of 128, sinks",
          [] { return prompts(DType::bf16, DType::bf16, 6, 2, 128, {0, 0, 7, false, true}); }},
      {"cached prompts, pages, f32 over bf16", [] { return prompts(DType::f32, DType::bf16, 4, 2, 72, {0, 0, 16}); },
          exact},
      {"cached prompts, f32 over f16, window", [] { return prompts(DType::f32, DType::f16, 4, 2, 40, {70}); }, exact},
      {"cached prompts, bf16 over f16, softcap, bidirectional",
          [] { return prompts(DType::bf16, DType::f16, 4, 2, 64, {120, 2, 0, false, false, false}); }},
      {"cached prompts, heads of 256, f32 rounded to bf16",
          [] { return prompts(DType::f32, DType::bf16, 4, 4, 256, {0, 0, 0, false, false, true, true}); }},
      {"cached prompts, overlapping segments", [] { return overlapping_prompts(75); }},
      {"rows", [] { return rows(); }},
      {"summed rows", [] { return summed_rows(); }},
      {"sampling", [] { return sampled(9001, 3, {0.7f, 600, 0.9f, 0.05f, 1.3f, 0.1f, 0.2f, 1, 4}); }},
      {"sampling, min_p", [] { return sampled(5000, 2, {1, 0, 1, 0.5f, 1, 0, 0, 0, 0}); }},
      // Ids win that get a penalty more than once.
      {"sampling, long history", [] { return sampled(9001, 2, {0, 0, 1, 0, 0.5f, -1, 0, 30, 700}); }},
      // Negative penalties, so that the token with the most occurrences wins.
      {"sampling, frequent token", [] { return sampled(9001, 2, {0, 0, 1, 0, 1, -50, -50, 0, 4}); }},
      {"sampling, best token", [] { return sampled(5000, 2, {0, 0, 1, 0, 1, 0, 0, 0, 0}); }},
      {"sampling, fewer tokens with a weight than top_k",
          [] { return sampled(9001, 2, {0.01f, 8000, 0.9f, 0, 1, 0, 0, 0, 0}); }},
      {"rows: log-probability, bf16", [] { return logprob(20, 40, 140); }},
      // Several strips of rows and of the vocabulary, and tiles that are partial in both dimensions.
      {"logits: small tiles", [] { return logits(21, 200, 605); }},
      // Four steps along k, so that the last one is in the first stage of the ring of three.
      {"logits: large tiles", [] { return logits(300, 200, 397); }},
      {"quantized q8_0, few rows", [] { return quantized(DType::q8_0, 3, 96, 20); }},
      {"quantized q8_0, few rows, several runs in flight", [] { return quantized(DType::q8_0, 1, 2080, 9); }},
      {"quantized q4_0, few rows, several runs in flight", [] { return quantized(DType::q4_0, 2, 2112, 9); }},
      {"quantized q4_k, few rows, several runs in flight", [] { return quantized(DType::q4_k, 3, 2304, 9); }},
      {"quantized q4_0, few rows, several columns of a warp", [] { return quantized(DType::q4_0, 1, 160, 140); }},
      {"quantized q8_0, few rows, rounded by another kernel", [] { return quantized(DType::q8_0, 4, 8480, 9); }},
      {"quantized q8_0, split k", [] { return quantized(DType::q8_0, 20, 1120, 30); }},
      {"quantized q4_0", [] { return quantized(DType::q4_0, 37, 160, 70); }},
      {"quantized q4_k", [] { return quantized(DType::q4_k, 70, 256, 66); }},
      // More rows than max_rows_in_int8: the weights are decoded to bf16, in several strips, and x is rounded to bf16.
      {"quantized q4_0, many rows", [] { return quantized(DType::q4_0, 140, 1120, 300); }},
      {"quantized q5_0", [] { return quantized(DType::q5_0, 5, 96, 20); }},
      {"quantized q6_k", [] { return quantized(DType::q6_k, 3, 512, 9); }},
      // Several strips of columns, lines that are padded along k, and a type without its own kernel.
      {"decoded q8_0", [] { return decoded(DType::q8_0, DType::f32, 130, 160, 200, true); }, exact},
      {"decoded q8_0, odd columns", [] { return decoded(DType::q8_0, DType::f32, 70, 96, 37); }, exact},
      {"decoded q4_0, split k", [] { return decoded(DType::q4_0, DType::f32, 72, 1120, 40); }, exact},
      {"decoded q4_k, split k, gradient of the input", [] { return decoded(DType::q4_k, DType::f32, 72, 256, 1096); },
          exact},
      {"decoded q6_k, bf16 results", [] { return decoded(DType::q6_k, DType::bf16, 70, 256, 72); }},
      {"decoded: log-probability", [] { return quantized_logprob(DType::q8_0, 70, 96, 140); }, "1e-5"},
      {"fp8, few rows", [] { return fp8(DType::f32, 3, 272, 20); }},
      {"fp8, few rows, sizes that are not whole pieces", [] { return fp8(DType::bf16, 4, 133, 20); }},
      {"fp8", [] { return fp8(DType::f32, 70, 200, 140); }},
      {"fp8, bf16, row sizes that are not whole pieces", [] { return fp8(DType::bf16, 9, 133, 66); }},
      {"fp8, decoded", [] { return fp8(DType::bf16, 70, 200, 136, DType::f32); }, exact},
      {"fp8, decoded, whole 16-byte loads", [] { return fp8(DType::bf16, 66, 272, 64, DType::f32); }, exact},
      {"rounded fp8", [] { return rounded_fp8(DType::f32, 150, 140, 132); }, exact},
      {"rounded fp8, bf16, odd sizes", [] { return rounded_fp8(DType::bf16, 133, 67, 141); }},
      {"rounded fp8, few rows, a transposed weight", [] { return rounded_fp8(DType::f32, 3, 272, 20, true); }, exact},
      {"experts, few rows", [] { return experts(4, 20, false); }},
      {"experts", [] { return experts(90, 70, false); }},
      {"experts, one input per slot", [] { return experts(90, 20, true); }},
      {"experts bf16, large tiles", [] { return uneven_experts(260, 5, 200, 136, false); }},
      {"experts bf16, small tiles, one input per slot", [] { return uneven_experts(110, 40, 72, 56, true); }},
      {"experts bf16, small tiles, four stages", [] { return uneven_experts(110, 40, 200, 200, false); }},
      // A block that sorts the pairs takes several rounds.
      {"experts bf16, small tiles, many pairs", [] { return uneven_experts(700, 40, 8, 8, false); }},
      // Two ranges of experts, with padded rows, and two strips of the columns of each expert.
      {"experts decoded, ranges", [] { return decoded_experts(DType::q8_0, DType::bf16, 110, 5, 480, 56, true); }},
      {"experts decoded, strips", [] { return decoded_experts(DType::q4_0, DType::f32, 120, 4, 224, 200, false); }},
      {"experts bf16, odd columns", [] { return uneven_experts(120, 4, 328, 67, false, false); }},
  };
  // Products run with their gradients, so that both operands occur in both layouts. They cover both tile widths, more
  // tiles than multiprocessors, more tiles along k than stages, and odd numbers of rows. Attention covers one to four
  // key tiles, head widths with full and with partial boxes, and sequences that end within a tile.
  const std::vector<Case> on_sm90 = {
      {"sm_90: wide tiles", [] { return linear(DType::bf16, 300, 328, 264, false); }},
      {"sm_90: wide tiles, an odd number of stages", [] { return linear(DType::bf16, 300, 136, 264, false); }},
      // One row of tiles, so a cluster has one block. The other products have clusters of two, some with an empty tile.
      {"sm_90: clusters of one block", [] { return linear(DType::bf16, 128, 456, 520, false); }},
      {"sm_90: half tiles, transposed", [] { return linear(DType::bf16, 768, 456, 104, true); }},
      {"sm_90: half tiles", [] { return linear(DType::bf16, 560, 200, 88, false); }},
      // A block's third tile fills a stage that the last products of its first tile have read.
      {"sm_90: half tiles, three stages", [] { return linear(DType::bf16, 1160, 136, 88, false); }},
      {"sm_90: half tiles, three stages, transposed", [] { return linear(DType::bf16, 1160, 136, 88, true); }},
      {"sm_90: odd columns", [] { return linear(DType::bf16, 300, 72, 131, false); }},
      {"sm_90: rows of a multiple of 8 bytes", [] { return linear(DType::bf16, 300, 72, 132, false); }},
      {"sm_90: large tiles, split k", [] { return linear(DType::bf16, 72, 1544, 80, false); }},
      // The gradient of the weight has one tile in four parts, of which the last is shorter. Then two tiles in two
      // parts.
      {"sm_90: split weight gradient", [] { return linear(DType::bf16, 2100, 200, 120, false); }},
      {"sm_90: split weight gradient, clusters", [] { return linear(DType::bf16, 1100, 104, 200, true); }},
      {"sm_90: decoded, half tiles", [] { return decoded(DType::q8_0, DType::f32, 300, 160, 264); }, exact},
      {"sm_90: decoded, wide tiles", [] { return decoded(DType::q4_0, DType::f32, 300, 96, 264); }, exact},
      {"sm_90: decoded, wide tiles, gradient of the input",
          [] { return decoded(DType::q8_0, DType::f32, 300, 288, 72); }, exact},
      {"sm_90: added to C", [] { return logprob(300, 264, 140); }},
      {"sm_90 logits: wide tiles", [] { return logits(140, 72, 397); }},
      {"sm_90 logits: half tiles", [] { return logits(140, 72, 121); }},
      {"sm_90 logits: few rows, several tiles of a block", [] { return logits(5, 72, 2000); }},
      {"sm_90 logits: split weight gradient", [] { return logits(2100, 72, 130); }},
      {"sm_90 epilogue: wide tiles", [] { return ended(DType::bf16, 300, 328, 264); }},
      {"sm_90 epilogue: half tiles, odd columns", [] { return ended(DType::bf16, 260, 136, 67); }},
      // Four stages that wrap, and an expert with more than eight tiles of rows.
      {"sm_90 experts bf16", [] { return uneven_experts(560, 4, 264, 136, false); }},
      {"sm_90 fp8", [] { return fp8(DType::f32, 300, 1104, 264); }},
      {"sm_90 fp8, bf16, odd columns", [] { return fp8(DType::bf16, 140, 272, 131); }},
      {"sm_90 fp8, few rows", [] { return fp8(DType::f32, 3, 272, 20); }},
      {"sm_90 fp8, rounded", [] { return rounded_fp8(DType::f32, 300, 392, 264); }},
      {"sm_90 fp8, rounded, bf16, odd sizes", [] { return rounded_fp8(DType::bf16, 140, 133, 131, true); }},
      {"sm_90 attention", [] { return attention_forward(400, 400, 2, 1, 128, 0, 0, false); }},
      {"sm_90 attention, sequences, heads of 40", [] { return attention_forward(280, 140, 2, 2, 40, 0, 0, true); }},
      {"sm_90 attention, heads of 96, four tiles", [] { return attention_forward(450, 450, 1, 1, 96, 0, 0, false); }},
      {"sm_90 attention, heads of 256", [] { return attention_forward(300, 150, 2, 1, 256, 100, 0, true); }},
      {"sm_90 gradients", [] { return attention(DType::bf16, 290, 2, 1, 128, 0, false, 0, 1); }},
      {"sm_90 gradients, sequences, sinks, heads of 40", [] { return attention(DType::bf16, 140, 4, 2, 40, 0, true); }},
      {"sm_90 gradients, window, softcap, heads of 72",
          [] { return attention(DType::bf16, 400, 1, 1, 72, 90, false, 2, 1); }},
      {"sm_90 gradients, bidirectional, heads of 96",
          [] { return attention(DType::bf16, 280, 2, 1, 96, 0, false, 0, 1, false); }},
      {"sm_90 gradients, bidirectional, six heads",
          [] { return attention(DType::bf16, 280, 4, 2, 64, 0, false, 0, 3, false); }},
      {"sm_90 gradients, bidirectional, window",
          [] { return attention(DType::bf16, 330, 1, 1, 64, 141, false, 0, 1, false); }},
      {"sm_90 gradients, documents", [] { return packed(DType::bf16, 300, 2, 1, 64, true); }},
      {"sm_90 gradients, documents, bidirectional", [] { return packed(DType::bf16, 270, 2, 2, 128, false); }},
      {"sm_90 gradients, documents, bidirectional, window",
          [] { return packed(DType::bf16, 260, 1, 1, 80, false, 60); }},
      {"sm_90 attention, window, softcap, heads of 72",
          [] { return attention_forward(260, 260, 4, 2, 72, 150, 2, false); }},
      // Tiles of 128 pairs and of 128 keys. The last tile of a segment has at most 64 pairs in some cases.
      {"sm_90 prompts", [] { return prompts(DType::bf16, DType::bf16, 4, 2, 64, {}); }},
      {"sm_90 prompts, ring, heads of 96, a head of its own for each",
          [] { return prompts(DType::bf16, DType::bf16, 2, 2, 96, {50, 0, 0, true}); }},
      {"sm_90 prompts, pages, heads of 128, sinks, eight tiles of keys",
          [] { return prompts(DType::bf16, DType::bf16, 6, 2, 128, {0, 0, 7, false, true, true, false, 800}); }},
      {"sm_90 prompts, large pages, window, eight heads of a key head",
          [] { return prompts(DType::bf16, DType::bf16, 8, 1, 64, {70, 0, 150}); }},
      {"sm_90 prompts, softcap, bidirectional, heads of 72, f32 rounded to bf16",
          [] { return prompts(DType::f32, DType::bf16, 4, 1, 72, {120, 2, 16, false, true, false, true}); }},
      {"sm_90 prompts, overlapping segments", [] { return overlapping_prompts(75, 300); }},
      {"sm_90 prompts, overlapping segments, tiles of 64 pairs", [] { return overlapping_prompts(60, 400); }},
  };
  // Cases for GPUs and the simulator, which are too large for the emulator. Blocks of cached attention process several
  // parts and tiles: the emulator's limits are smaller, and other cases exceed them. Epilogues run on each form of main
  // loop, as products without one do above.
  const std::vector<Case> not_emulated = {
      // Four steps along k, so that the last one is in the first stage of the ring of three. With 200 columns of the
      // result, wide tiles would leave multiprocessors idle.
      {"linear bf16, large tiles", [] { return linear(DType::bf16, 200, 200, 200, false); }},
      {"linear bf16, wide tiles, four steps", [] { return linear(DType::bf16, 140, 200, 304, false); }},
      {"linear bf16, wide tiles, four steps, gradients", [] { return linear(DType::bf16, 200, 304, 200, false); }},
      {"experts bf16, large tiles, four steps", [] { return uneven_experts(260, 5, 200, 200, false); }},
      {"epilogue bf16, large tiles", [] { return ended(DType::bf16, 140, 200, 104); }},
      {"epilogue bf16, wide tiles, four steps", [] { return ended(DType::bf16, 140, 200, 304); }},
      {"cached attention, parts", [] { return cached(1100, 40, 3); }},
      {"cached attention, parts in one block", [] { return cached(950, 40, 130); }},
      {"cached tensor parts, bf16", [] { return overlapping_parts(DType::bf16, DType::bf16, 64); }},
      {"cached tensor parts, bf16, heads of 128", [] { return overlapping_parts(DType::bf16, DType::bf16, 128); }},
      {"cached tensor parts, bf16, heads of 256", [] { return overlapping_parts(DType::bf16, DType::bf16, 256); }},
      {"cached tensor parts, f32 over bf16, heads of 64", [] { return overlapping_parts(DType::f32, DType::bf16, 64); },
          exact},
      {"cached tensor parts, f32 over bf16", [] { return overlapping_parts(DType::f32, DType::bf16, 128); }, exact},
      {"cached tensor parts, f32 over f16", [] { return overlapping_parts(DType::f32, DType::f16, 64); }, exact},
      {"cached tensor parts, f32 over bf16, heads of 256",
          [] { return overlapping_parts(DType::f32, DType::bf16, 256); }, exact},
      {"cached tensor parts, q8", [] { return overlapping_parts(DType::f32, DType::u8, 64); }, exact},
      {"cached tensor parts, q8, heads of 128", [] { return overlapping_parts(DType::f32, DType::u8, 128); }, exact},
      {"long prompts, bf16", [] { return long_prompts(DType::bf16, DType::bf16, 64); }},
      {"long prompts, bf16, heads of 128", [] { return long_prompts(DType::bf16, DType::bf16, 128); }},
      {"long prompts, bf16, heads of 256", [] { return long_prompts(DType::bf16, DType::bf16, 256); }},
      {"long prompts, f32 over bf16", [] { return long_prompts(DType::f32, DType::bf16, 128); }, exact},
      {"long prompts, f32 over f16", [] { return long_prompts(DType::f32, DType::f16, 64); }, exact},
      {"sm_90 long prompts, pages, sinks, eight heads of a key head",
          [] { return prompts(DType::bf16, DType::bf16, 16, 2, 128, {0, 0, 7, false, true, true, false, 200}); }},
      {"sm_90 long prompts, ring, heads of 96",
          [] { return prompts(DType::bf16, DType::bf16, 8, 8, 96, {50, 0, 0, true}); }},
      {"sm_90 long prompts, softcap, bidirectional, f32 rounded to bf16, heads of 40",
          [] { return prompts(DType::f32, DType::bf16, 16, 2, 40, {220, 2, 150, false, false, false, true}); }},
      {"sm_90: rows of a multiple of 8 bytes, half tiles", [] { return linear(DType::bf16, 300, 72, 100, false); }},
      {"sm_90: decoded, half tiles, gradient of the input",
          [] { return decoded(DType::q8_0, DType::f32, 560, 96, 72); }, exact},
      {"sm_90: rows of a multiple of 8 bytes, wide tiles", [] { return linear(DType::bf16, 300, 72, 268, false); }},
      {"sm_90: added to C, half tiles", [] { return logprob(300, 88, 524); }},
      {"sm_90: added to C, wide tiles", [] { return logprob(300, 264, 524); }},
      {"sm_90 epilogue: wide tiles, an odd number of stages", [] { return ended(DType::bf16, 300, 136, 264); }},
      {"sm_90 epilogue: wide tiles, odd columns", [] { return ended(DType::bf16, 300, 456, 523); }},
      {"sm_90 epilogue: wide tiles, odd columns, seven stages", [] { return ended(DType::bf16, 300, 392, 523); }},
      {"sm_90 epilogue: half tiles, clusters", [] { return ended(DType::bf16, 1160, 456, 88); }},
      {"sm_90 epilogue: half tiles, clusters, odd columns", [] { return ended(DType::bf16, 1160, 136, 67); }},
      {"sm_90 epilogue: wide tiles, five stages", [] { return ended(DType::bf16, 300, 264, 264); }},
      {"sm_90 epilogue: wide tiles, one cluster", [] { return ended(DType::bf16, 256, 264, 200); }},
      {"sm_90 epilogue: half tiles, gradient of the input", [] { return ended(DType::bf16, 1160, 88, 264); }},
      {"sm_90 epilogue: half tiles, gradient of the input, three stages",
          [] { return ended(DType::bf16, 1160, 88, 136); }},
      // The rings of four and of three stages wrap, and blocks have several tiles.
      {"sm_90 logits: wide tiles, long rows", [] { return logits(140, 424, 2400); }},
  };
  // f32 products on a device with tf32 allowed.
  const std::vector<Case> allowing_tf32 = {
      {"tf32: small tiles", [] { return linear(DType::f32, 40, 72, 56, false); }},
      {"tf32: small tiles, transposed", [] { return linear(DType::f32, 40, 56, 72, true); }},
      {"tf32: large tiles", [] { return linear(DType::f32, 132, 44, 200, false); }},
      // Seven steps along k, so that the last one is in the first stage of the ring of three.
      {"tf32: large tiles, transposed", [] { return linear(DType::f32, 196, 196, 196, true); }},
      {"tf32: row sizes that are not whole pieces", [] { return linear(DType::f32, 20, 37, 66, false); }},
      {"tf32: odd columns", [] { return linear(DType::f32, 40, 72, 53, false); }},
      {"tf32: split k", [] { return linear(DType::f32, 24, 1100, 40, false); }},
      {"tf32: split k, gradient of the weight", [] { return linear(DType::f32, 1090, 24, 16, false); }},
      {"tf32 epilogue", [] { return ended(DType::f32, 40, 100, 56); }},
      {"tf32 epilogue, large tiles", [] { return ended(DType::f32, 132, 196, 140); }},
      {"tf32 epilogue, split k", [] { return ended(DType::f32, 24, 1100, 40); }},
      {"tf32: decoded q4_0", [] { return quantized(DType::q4_0, 70, 288, 72); }},
      {"tf32: decoded fp8", [] { return fp8(DType::f32, 70, 200, 136); }},
      {"tf32: split k, large tiles", [] { return linear(DType::f32, 72, 1544, 80, false); }},
  };
  // Large tiles without split k, because the device lacks the shared memory for wide tiles.
  // fp8 products by mma.sync, with both tile sizes, a ring that wraps around, and partial tiles in both dimensions.
  // Also a product that decodes its weights only above 128 rows.
  const std::vector<Case> on_sm89 = {
      {"sm_89 large tiles", [] { return linear(DType::bf16, 140, 264, 304, false); }},
      {"sm_89 epilogue, large tiles", [] { return ended(DType::bf16, 140, 264, 304); }},
      {"sm_89 fp8", [] { return fp8(DType::f32, 70, 400, 140); }},
      {"sm_89 fp8, large tiles, bf16", [] { return fp8(DType::bf16, 270, 784, 200); }},
      {"sm_89 decoded", [] { return decoded(DType::q8_0, DType::f32, 140, 96, 72); }, exact},
      {"sm_89 fp8, rounded", [] { return rounded_fp8(DType::f32, 150, 392, 140); }},
      {"sm_89 fp8, rounded, bf16, odd sizes", [] { return rounded_fp8(DType::bf16, 133, 67, 141, false, true); }},
      {"sm_89 fp8, odd columns", [] { return fp8(DType::f32, 9, 144, 67); }},
  };
  open_cuda(0);  // throws if there is no device
  const bool emulated = cuda_devices()[0].name.rfind("emulated", 0) == 0;
  int failed = 0;
  const auto run_on = [&](const std::shared_ptr<Accelerator>& device, const char* order,
                          const std::vector<Case>& cases) {
    Lane lane(1, device);
    for (const auto& [name, build, check] : cases) {
      if (std::string(name).rfind(beginning, 0) != 0 || (failed && first_failure)) continue;
      setenv("HEDDLE_CHECK", check == exact && !emulated ? exact_on_hardware : check, 1);
      try {
        run(build(), device, lane);
      } catch (const std::exception& e) {
        std::printf("FAILED %s (%s): %s\n", name, order, e.what());
        ++failed;
      }
    }
  };
  // A GPU has only one order of events.
  const std::vector<const char*> orders = emulated ? std::vector<const char*>{"lazy", "eager", "random:1", "random:2"}
                                                   : std::vector<const char*>{"hardware"};
  for (const char* order : orders) {
    setenv("HEDDLE_EMULATOR", order, 1);
    setenv("HEDDLE_EMULATE_CUDA", "1", 1);
    run_on(open_cuda(0), order, everywhere);
    if (!emulated) run_on(open_cuda(0), order, not_emulated);
    run_on(open_cuda(0, true), order, allowing_tf32);
    setenv("HEDDLE_EMULATE_CUDA", "sm_89", 1);
    run_on(open_cuda(0), order, on_sm89);
    setenv("HEDDLE_EMULATE_CUDA", "sm_90", 1);
    run_on(open_cuda(0), order, on_sm90);
    if (failed) break;
  }
  if (!failed) std::printf("all kernels agree with their references on %s\n", cuda_devices()[0].name.c_str());
  return failed ? 1 : 0;
}

}  // namespace

// Usage: emulator_kernels [PREFIX [first]]. Runs the cases whose name begins with PREFIX. `first` stops at the first
// failure.
int main(int count, char** arguments) {
  try {
    return run_all(count > 1 ? arguments[1] : "", count > 2);
  } catch (const std::exception& e) {
    std::printf("FAILED %s\n", e.what());
    return 1;
  }
}
