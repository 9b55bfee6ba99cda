// AMX tiles of bf16 (Sapphire Rapids and later): eight registers of 16 rows of 64 bytes. Included by simd.h inside the
// namespace of the instruction set. Written in assembly: the compilers' intrinsics do not declare that they read
// memory, so stores could be moved past them.

constexpr int TILE = 16;  // rows of a register, and floats of a row
constexpr int tile_row_bytes = 4 * TILE;

// Tile configuration in the processor's format. Registers 0 to 3 hold tiles of c, 4 and 5 of a, 6 and 7 of b. Tiles of
// c and a have `height` rows. Registers 0, 1 and 6 are `columns` columns of 4 bytes wide. Registers 2, 3 and 7 are
// `others` columns wide.
struct alignas(64) TileShape {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
  explicit TileShape(int height = TILE, int columns = TILE, int others = TILE) {
    for (int t = 0; t < 8; ++t) rows[t] = static_cast<uint8_t>(t < 6 ? height : TILE), bytes[t] = 4 * TILE;
    bytes[0] = bytes[1] = bytes[6] = static_cast<uint16_t>(4 * columns),
    bytes[2] = bytes[3] = bytes[7] = static_cast<uint16_t>(4 * others);
  }
};

#if defined(HEDDLE_EMULATE_AVX512)
struct TileRegisters {
  alignas(64) char at[8][TILE * tile_row_bytes];
  TileShape shape;
};
inline TileRegisters& tile_registers() {
  static thread_local TileRegisters registers;
  return registers;
}
struct Tiles {
  explicit Tiles(int rows = TILE, int columns = TILE, int others = TILE) {
    tile_registers().shape = TileShape(rows, columns, others);
  }
};
template <int T> HEDDLE_SIMD void tile_zero() {
  __builtin_memset(tile_registers().at[T], 0, sizeof tile_registers().at[T]);
}
template <int T> HEDDLE_SIMD void tile_load(const void* p, int64_t stride) {
  const TileShape& s = tile_registers().shape;
  tile_zero<T>();
  for (int r = 0; r < s.rows[T]; ++r)
    __builtin_memcpy(tile_registers().at[T] + r * tile_row_bytes, static_cast<const char*>(p) + r * stride, s.bytes[T]);
}
template <int T> HEDDLE_SIMD void tile_store(void* p, int64_t stride) {
  const TileShape& s = tile_registers().shape;
  for (int r = 0; r < s.rows[T]; ++r)
    __builtin_memcpy(static_cast<char*>(p) + r * stride, tile_registers().at[T] + r * tile_row_bytes, s.bytes[T]);
}
template <int C, int A, int B> HEDDLE_SIMD void tile_dot() {
  TileRegisters& t = tile_registers();
  emulated::tdpbf16ps(reinterpret_cast<float*>(t.at[C]), reinterpret_cast<const uint16_t*>(t.at[A]),
      reinterpret_cast<const uint16_t*>(t.at[B]));
}
#else
// Configures the calling thread's tile registers for the lifetime of the object. The system saves the registers only
// while they are in use.
class Tiles {
 public:
  explicit Tiles(int rows = TILE, int columns = TILE, int others = TILE) {
    const TileShape shape(rows, columns, others);
    asm volatile("ldtilecfg %0" ::"m"(shape));
  }
  ~Tiles() { asm volatile("tilerelease" ::: "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};
template <int T> HEDDLE_SIMD void tile_zero() { asm volatile("tilezero %%tmm%c0" ::"i"(T)); }
// Loads rows `stride` bytes apart. With stride 0 all rows are the same.
template <int T> HEDDLE_SIMD void tile_load(const void* p, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T> HEDDLE_SIMD void tile_store(void* p, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
// c (16, 16) += a (16, 16 pairs) b (16 pairs, 16). A pair is two neighboring bf16 of a row of a, and of a column of b.
template <int C, int A, int B> HEDDLE_SIMD void tile_dot() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}
#endif
