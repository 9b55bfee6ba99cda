// Matrix tiles: AMX with bf16 (Sapphire Rapids and later). Eight registers of 16 rows of 64 bytes. Included by simd.h inside the namespace of
// the instruction set. By assembly: compilers' own functions for it do not say that they read memory, and so may pass a store.

constexpr int TILE = 16;                // rows of a register, and floats of a row
constexpr int tile_row_bytes = 4 * TILE;

#if defined(HEDDLE_EMULATE_AVX512)
struct TileRegisters {
  alignas(64) char at[8][TILE * tile_row_bytes];
  int rows[8];
};
inline TileRegisters& tile_registers() {
  static thread_local TileRegisters registers;
  return registers;
}
struct Tiles {
  explicit Tiles(int rows = TILE) {
    for (int t = 0; t < 8; ++t) tile_registers().rows[t] = t < 6 ? rows : TILE;
  }
};
template <int T> HEDDLE_SIMD void tile_zero() { __builtin_memset(tile_registers().at[T], 0, sizeof tile_registers().at[T]); }
template <int T> HEDDLE_SIMD void tile_load(const void* p, int64_t stride) {
  tile_zero<T>();
  for (int r = 0; r < tile_registers().rows[T]; ++r) __builtin_memcpy(tile_registers().at[T] + r * tile_row_bytes, static_cast<const char*>(p) + r * stride, tile_row_bytes);
}
template <int T> HEDDLE_SIMD void tile_store(void* p, int64_t stride) {
  for (int r = 0; r < tile_registers().rows[T]; ++r) __builtin_memcpy(static_cast<char*>(p) + r * stride, tile_registers().at[T] + r * tile_row_bytes, tile_row_bytes);
}
template <int C, int A, int B> HEDDLE_SIMD void tile_dot() {
  TileRegisters& t = tile_registers();
  emulated::tdpbf16ps(reinterpret_cast<float*>(t.at[C]), reinterpret_cast<const uint16_t*>(t.at[A]), reinterpret_cast<const uint16_t*>(t.at[B]));
}
#else
// While it lives the calling thread's registers are whole ones, or, those of a and of c (0 to 5), have fewer rows. The system saves them with the
// thread only while they are in use.
class Tiles {
 public:
  explicit Tiles(int rows = TILE) {
    alignas(64) struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    for (int t = 0; t < 6; ++t) shape.rows[t] = static_cast<uint8_t>(rows);
    asm volatile("ldtilecfg %0" ::"m"(shape));
  }
  ~Tiles() { asm volatile("tilerelease" ::: "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};
template <int T> HEDDLE_SIMD void tile_zero() { asm volatile("tilezero %%tmm%c0" ::"i"(T)); }
// Rows `stride` bytes apart; with 0 all are the same.
template <int T> HEDDLE_SIMD void tile_load(const void* p, int64_t stride) { asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory"); }
template <int T> HEDDLE_SIMD void tile_store(void* p, int64_t stride) { asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory"); }
// c (16, 16) += a (16, 16 pairs) b (16 pairs, 16): of neighbouring bf16 of a's rows, and of b's columns.
template <int C, int A, int B> HEDDLE_SIMD void tile_dot() { asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B)); }
#endif
