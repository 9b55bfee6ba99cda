// The interface of an instruction set: plain structs in, one table of functions out. The structs keep isa_*.cc free of
// headers that share inline functions with the rest of the library. native/cpu/nodes/ turns graph nodes into these
// structs.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ops/segments.h"
#include "runtime/pool.h"
#include "core/tensor.h"

namespace heddle {
namespace cpu {

// c (m, n) = [c +] a (m, k) * b (k, n) [+ bias (n)], f32 accumulation.
// a is stored (m, k), or (k, m) if a_transposed. b is stored (k, n), or (n, k) if b_transposed. ld: elements per stored
// row.
struct Gemm {
  int64_t m, n, k;
  const void* a;
  DType a_type;
  int64_t lda;
  bool a_transposed;
  const void* b;
  DType b_type;
  int64_t ldb;
  bool b_transposed;
  void* c;
  DType c_type;  // f32 or bf16; `accumulate` with bf16 requires gemm_adds
  int64_t ldc;
  bool c_transposed = false;  // c(i, j) is at c[j * ldc + i]
  bool accumulate = false;
  bool rowwise = false;            // a row's bits depend on that row alone, not on the number of rows
  const void* b_packed = nullptr;  // packed form of b (pairs_pack), or null; requires bf16 and b_transposed
  bool b_unpacked = false;  // b_packed will exist later; until then the product packs each panel, with the same bits
  const void* bias = nullptr;
  DType bias_type = DType::f32;
  int end = 0;  // activation applied to the sums, if gemm_ends_above allows it: 1 gelu tanh, 2 gelu erf
};

// Attention within each sequence. q, o: (batch*length, heads, width). k, v: (batch*length, kv_heads, width).
struct Attention {
  int64_t batch, length, heads, kv_heads, width;
  bool causal;
  // 0: unlimited. Causal: query i sees key j iff i - window < j <= i. Bidirectional: iff |i - j| <= window / 2
  int64_t window;
  float scale, softcap;
  DType type, o_type;
  const void *q, *k, *v;
  void* o;
  float* lse;                          // (batch*length, heads)
  const int32_t* documents = nullptr;  // (batch*length): rows with equal ids see each other; negative ids see nothing
  const void* sinks = nullptr;         // (heads), forward only
  DType sinks_type = DType::f32;
  bool pairs = false;         // whether products may round their operands to bf16
  const void* d_o = nullptr;  // backward only, as are the three gradients
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;
};

struct CachedAttention {
  // The cache is (slots, kv_heads, capacity, width), or in pages. cache_type u8: rows are quantized to width + 4 bytes.
  int64_t heads, kv_heads, width, capacity;
  CachePlaces places;
  int64_t context;  // the model's context length; if it exceeds `capacity`, it determines the length of parts
  bool causal;
  int64_t window;
  float scale, softcap;
  DType type, cache_type, o_type;
  const void *q, *k, *v;
  void* o;
  int64_t segments;
  const int32_t* segment;  // (segments, 4): first row, rows, slot, past
  int64_t rows;            // rows of q; upper bound of every segment's rows
  const void* sinks = nullptr;
  DType sinks_type = DType::f32;
  bool ring = false;   // position p is in row p mod capacity; capacity is a multiple of 64
  bool pairs = false;  // products with a bf16 cache may round their other operand to bf16
};

struct SinksBackward {
  int64_t rows, heads, width;
  DType type, sinks_type;
  const void *d_o, *o, *sinks;
  const float* lse;
  float* d_sinks;
};

// y (m, n) = x (m, k) * w (n, k)^T [+ bias (n)], with quantized w.
struct QuantLinear {
  int64_t m, n, k;
  const void* x;
  DType x_type;
  const void* w;
  DType w_type;
  void* y;
  DType y_type;
  const void* bias = nullptr;
  DType bias_type = DType::f32;
  bool int8 = false;             // rounds x to 8 bits and multiplies integers
  bool rowwise = false;          // like Gemm::rowwise
  const void* packed = nullptr;  // packed form of w (quant_pack), or null
  bool unpacked = false;         // like Gemm::b_unpacked
  void* dx = nullptr;            // backward only: dx (m, k) = y w, of x_type; y is an input and x is unset
};

struct Kernels;

struct TokenLogprob {
  const Kernels* kernels;  // the table that computes the matrix products
  int64_t rows, width, vocab;
  float softcap, scale;
  DType h_type, w_type;
  const void *h, *w;
  const int32_t* targets;
  float *logprob, *lse;
  const float* d_logprob = nullptr;  // for gradients only
  const float* d_lse = nullptr;      // for gradients only; null: zero
  void* dh = nullptr;                // h_type
  float* dw = nullptr;               // null: not needed
  const float* bias = nullptr;       // (vocab), added to the products; null: none
  float* dbias = nullptr;            // null: not needed
};

struct Norm {
  int64_t rows, width;
  float eps, offset;
  DType type, w_type, b_type, y_type;  // y: like x, or bf16
  const void *x, *w, *b, *residual;    // b, residual may be null
  void *y, *h;                         // h = x + residual; not written without a residual
};
struct NormBackward {
  int64_t rows, width;
  float eps, offset;
  DType type, w_type, dh_type;
  const void *dy, *h, *w, *dh;  // dh may be null
  void* dx;
  float *dw, *db;
};

constexpr int64_t max_rope_pairs = 512;  // rotated pairs of a head; rope's buffers have this size

struct Rope {
  int64_t rows, heads, width, rotated;
  bool interleaved, interleaved_out, inverse;
  float scale;
  DType type;
  const void* x;
  void* y;
  const int32_t* positions;
  const float* inv_freq;    // (rotated / 2), or one such row per row of x
  int64_t inv_freq_stride;  // 0 (shared), or rotated / 2
};

struct Elementwise {  // operands have `type` unless stated otherwise; out_type is the same, or bf16 for activations
  int64_t size;
  DType type;
  const void *a = nullptr, *b = nullptr, *c = nullptr;
  void *y = nullptr, *z = nullptr;
  int activation = 0;  // 0 silu, 1 gelu tanh, 2 gelu erf
  float factor = 1, offset = 0;
  DType out_type = DType::f32;
};

struct Rows {  // softmax, copies
  int64_t rows, width;
  DType type;
  const void *a = nullptr, *b = nullptr;
  void* y = nullptr;
};

struct Embedding {
  int64_t rows, width, vocab;
  DType type, table_type;
  float scale;
  const int32_t* ids;
  const void* table;
  void* y;            // forward (rows, width)
  const void* dy;     // backward
  const float* onto;  // (vocab, width): the gradient is added to these numbers; may be dtable; null: zeros
  float* dtable;      // (vocab, width)
};

struct AdamW {
  int64_t size;
  DType type;
  void* param;
  const float* grad;
  float *m, *v;
  const float *hyper, *factor;
  bool decay;
};

struct Kernels {
  const char* name;
  bool bf16_pairs = false;             // whether products of two bf16 operands take dot products of bf16 pairs
  int row_tile = 14, row_block = 136;  // Packing's fields for bf16 weights
  int quant_min_rows = 1;              // Packing::min_rows for quantized weights
  size_t (*gemm_scratch)(int64_t m, int64_t n, int64_t k, int threads);
  void (*gemm)(const Gemm&, Pool&, void* scratch);
  bool (*gemm_adds)(const Gemm&);           // whether `accumulate` costs less than a separate addition
  int64_t (*gemm_ends_above)(const Gemm&);  // products with more rows than this can apply `end`
  void (*gemms)(const Gemm*, int count, Pool&, void* scratch);  // several products of one a
  size_t (*pairs_packed_bytes)(int64_t n, int64_t k);  // size of a weight's packed form for bf16 products, or 0
  // Packs panels [begin, end). A panel has pairs_packed_bytes(1, k) bytes.
  void (*pairs_pack)(const Gemm&, void* to, int64_t begin, int64_t end, Pool&);
  size_t (*quant_linear_scratch)(const QuantLinear&, int threads);
  void (*quant_linear)(const QuantLinear&, Pool&, void* scratch);
  void (*quant_linears)(const QuantLinear*, int count, Pool&, void* scratch);  // several products of one x
  size_t (*quant_packed_bytes)(DType, int64_t n, int64_t k);  // size of the packed form for integer products, or 0
  void (*quant_pack)(const QuantLinear&, void* to, int64_t begin, int64_t end, Pool&);  // like pairs_pack
  size_t (*quant_backward_scratch)(const QuantLinear&, int threads);
  void (*quant_backward)(const QuantLinear&, Pool&, void* scratch);
  size_t (*attention_scratch)(const Attention&, int threads);
  void (*attention)(const Attention&, Pool&, void* scratch);
  size_t (*attention_backward_scratch)(const Attention&, int threads);
  void (*attention_backward)(const Attention&, Pool&, void* scratch);
  void (*sinks_backward)(const SinksBackward&, Pool&);
  size_t (*cached_attention_scratch)(const CachedAttention&, int threads);
  void (*cached_attention)(const CachedAttention&, Pool&, void* scratch);
  size_t (*token_logprob_scratch)(const TokenLogprob&, int threads);
  void (*token_logprob)(const TokenLogprob&, Pool&, void* scratch);
  size_t (*token_logprob_backward_scratch)(const TokenLogprob&, int threads);
  void (*token_logprob_backward)(const TokenLogprob&, Pool&, void* scratch);
  size_t (*fused_logprob_scratch)(const TokenLogprob&, int threads);
  void (*fused_logprob)(const TokenLogprob&, Pool&, void* scratch);  // forward and gradient in one pass
  void (*rms_norm)(const Norm&, Pool&);
  void (*layer_norm)(const Norm&, Pool&);
  size_t (*norm_backward_scratch)(const NormBackward&, int threads);
  void (*rms_norm_backward)(const NormBackward&, Pool&, void* scratch);
  void (*layer_norm_backward)(const NormBackward&, Pool&, void* scratch);
  void (*rope)(const Rope&, Pool&);
  void (*glu)(const Elementwise&, Pool&);               // a gate, b up -> y
  void (*glu_backward)(const Elementwise&, Pool&);      // a dy, b gate, c up -> y dgate, z dup
  void (*gelu)(const Elementwise&, Pool&);              // a -> y
  void (*gelu_backward)(const Elementwise&, Pool&);     // a dy, b x -> y
  void (*softcap)(const Elementwise&, Pool&);           // a -> y, with cap `factor`
  void (*softcap_backward)(const Elementwise&, Pool&);  // a dy, b x -> y, with cap `factor`
  void (*add)(const Elementwise&, Pool&);
  void (*mul)(const Elementwise&, Pool&);
  void (*affine)(const Elementwise&, Pool&);  // y = factor * a + offset
  void (*cast)(const Elementwise&, Pool&);    // type -> out_type
  double (*sum)(const Elementwise&, Pool&);   // sum of a; independent of the number of threads
  double (*sum_squares)(const Elementwise&, Pool&);
  void (*accumulate)(const Elementwise&, Pool&);  // y f32 = factor * y + a (type)
  void (*softmax)(const Rows&, Pool&);
  void (*softmax_backward)(const Rows&, Pool&);  // a dy, b y
  void (*log_softmax)(const Rows&, Pool&);
  void (*log_softmax_backward)(const Rows&, Pool&);  // a dy, b y
  void (*column_sum)(const Rows&, Pool&);            // y (width) f32
  void (*embedding)(const Embedding&, Pool&);
  void (*embedding_backward)(const Embedding&, Pool&);
  void (*adamw)(const AdamW&, Pool&);
  // Finds the largest and the smallest of n logits. Returns false unless all are finite.
  bool (*logits_range)(const float* x, int64_t n, float* largest, float* smallest);
  // With d = largest - x: the sums of exp(-d) and of d * exp(-d).
  void (*logits_sums)(const float* x, int64_t n, float largest, double* mass, double* distance);
  int64_t (*logits_index)(const float* x, int64_t n, float largest);                       // first index of the largest
  void (*convert)(const void* from, DType from_type, void* to, DType to_type, int64_t n);  // runs on the calling thread
  // Runs on the calling thread. Gives the same bits as quantize() (ops/quant.h) for every x that quantize() accepts.
  void (*quantize)(DType, const float* x, int64_t n, void* to);
};

extern const Kernels kernels_baseline;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const Kernels kernels_neon;
// Each function extends the given table: it replaces the kernels that additional instructions change, and keeps a copy
// of the table for calls that they do not change. A table is extended once, before any kernel runs.
void with_avxvnni(Kernels& avx2);
void with_avx512bf16(Kernels& avx512);
void with_amx(Kernels& avx512bf16);
void with_neondot(Kernels& neon);
void with_neoni8mm(Kernels& neon);

}  // namespace cpu
}  // namespace heddle
