// What the processor could do at most, now: each line on stdin makes every thread run independent multiply-adds for some
// milliseconds, and answers with GFLOP/s of f32, of bf16 and of int8 (by matrix tiles where it has them, else by pairs and fours in
// vectors; 0 where it has neither), and with the nanoseconds that a cache line takes from one core to the next (0 with one thread): some
// 25 within a die, 150 and more between two, and a virtual machine's CPUs may be moved from one to the other while it runs.
//   cc -O3 -pthread -o ceilings ceilings.c && ./ceilings THREADS
#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CHAINS = 12, ROUNDS = 400000, TILE_ROUNDS = 40000, MOST = 256 };
static int threads;
static void (*kernel)(void);
static double took[MOST];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// Numbers, because zeros take less power: of either sign and several magnitudes, as bf16 and as f32; and any bytes. Four tiles of each.
static _Alignas(64) uint16_t numbers[4 * 512];
static _Alignas(64) uint8_t bytes[4 * 1024];
static void fill(void) {
  uint32_t random = 1;
  for (int i = 0; i < 4 * 1024; ++i) {
    random = random * 1664525 + 1013904223;
    bytes[i] = random >> 24;
    numbers[i / 2] = (random >> 16 & 0x83ff) | 0x3c00;  // 2^-7 to 2
  }
}

// In assembly, because compilers spill such chains. 12 of them hide the latency of every processor of this kind.
#define CHAIN(op, r, n) op " %%" r "15, %%" r "15, %%" r #n "\n"
#define TWELVE(op, r)                                                                                                 \
  CHAIN(op, r, 0) CHAIN(op, r, 1) CHAIN(op, r, 2) CHAIN(op, r, 3) CHAIN(op, r, 4) CHAIN(op, r, 5)                      \
  CHAIN(op, r, 6) CHAIN(op, r, 7) CHAIN(op, r, 8) CHAIN(op, r, 9) CHAIN(op, r, 10) CHAIN(op, r, 11)
#define KERNEL(name, isa, op, r, of)                                                                                   \
  __attribute__((target(isa))) static void name(void) {                                                                \
    asm volatile("vzeroall\nvmovups (%0), %%" r "15" ::"r"(of) : "xmm15", "memory");                                   \
    for (int i = 0; i < ROUNDS; ++i)                                                                                   \
      asm volatile(TWELVE(op, r)::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",    \
                   "xmm10", "xmm11");                                                                                  \
  }
KERNEL(multiply_add, "avx2,fma", "vfmadd231ps", "ymm", numbers)
KERNEL(wide_multiply_add, "avx512f", "vfmadd231ps", "zmm", numbers)
KERNEL(dot_pairs, "avx512f,avx512bf16", "vdpbf16ps", "zmm", numbers)
KERNEL(dot_fours, "avx512f,avx512vnni", "vpdpbusd", "zmm", bytes)

// Four sums of 16 by 16 from two registers of either operand, as a product has them.
#if defined(__linux__) && (__GNUC__ >= 11 || __clang_major__ >= 11)
#define TILE_KERNEL(name, isa, op, of)                                                                                 \
  __attribute__((target(isa))) static void name(void) {                                                                \
    static const _Alignas(64) struct {                                                                                 \
      uint8_t palette, start, reserved[14];                                                                            \
      uint16_t bytes[16];                                                                                              \
      uint8_t rows[16];                                                                                                \
    } whole = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};                         \
    asm volatile("ldtilecfg %0" ::"m"(whole));                                                                         \
    asm volatile("tilezero %%tmm0\ntilezero %%tmm1\ntilezero %%tmm2\ntilezero %%tmm3\n"                               \
                 "tileloadd (%0,%4,1), %%tmm4\ntileloadd (%1,%4,1), %%tmm5\n"                                          \
                 "tileloadd (%2,%4,1), %%tmm6\ntileloadd (%3,%4,1), %%tmm7" ::"r"((char *)of),                         \
                 "r"((char *)of + 1024), "r"((char *)of + 2048), "r"((char *)of + 3072), "r"(64l)                      \
                 : "memory");                                                                                          \
    for (int i = 0; i < TILE_ROUNDS; ++i)                                                                              \
      asm volatile(op " %tmm6, %tmm4, %tmm0\n" op " %tmm7, %tmm4, %tmm1\n"                                             \
                   op " %tmm6, %tmm5, %tmm2\n" op " %tmm7, %tmm5, %tmm3");                                             \
    asm volatile("tilerelease");                                                                                       \
  }
TILE_KERNEL(tile_pairs, "amx-tile,amx-bf16", "tdpbf16ps", numbers)
TILE_KERNEL(tile_fours, "amx-tile,amx-int8", "tdpbssd", bytes)
// `bit` of what cpuid says of matrix tiles, and the system's permission, as native/cpu/dispatch.cc asks for it.
static int has_tiles(int bit) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 24 & 1 && d >> bit & 1 && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}
#else
static void tile_pairs(void) {}
static void tile_fours(void) {}
static int has_tiles(int bit) { return bit < 0; }
#endif

static void *work(void *index) {
  long i = (long)index;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(i, &one);
  sched_setaffinity(0, sizeof one, &one);
  double start = now();
  kernel();
  took[i] = now() - start;
  return 0;
}

// The sum of every thread's own rate, the best of three. `flops`: of a call.
static double rate(void (*chosen)(void), double flops) {
  double best = 0;
  kernel = chosen;
  for (int r = 0; r < 3; ++r) {
    pthread_t t[MOST];
    double sum = 0;
    for (long i = 0; i < threads; ++i) pthread_create(&t[i], 0, work, (void *)i);
    for (int i = 0; i < threads; ++i) pthread_join(t[i], 0);
    for (int i = 0; i < threads; ++i) sum += 1e-9 * flops / took[i];
    if (sum > best) best = sum;
  }
  return best;
}

static volatile int turn;
enum { TURNS = 20000 };
static void pin(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}
static void *answer(void *unused) {
  pin(1);
  for (int i = 0; i < TURNS; ++i) {
    while (turn != 2 * i + 1) __builtin_ia32_pause();
    turn = 2 * i + 2;
  }
  return unused;
}
static double line_way(void) {
  pthread_t other;
  cpu_set_t before;
  if (threads < 2) return 0;
  turn = 0;
  sched_getaffinity(0, sizeof before, &before);
  pthread_create(&other, 0, answer, 0);
  pin(0);
  double start = 0;
  for (int i = 0; i < TURNS; ++i) {
    if (i == TURNS / 2) start = now();  // the other has started by then
    turn = 2 * i + 1;
    while (turn != 2 * i + 2) __builtin_ia32_pause();
  }
  double way = 1e9 * (now() - start) / TURNS;
  pthread_join(other, 0);
  sched_setaffinity(0, sizeof before, &before);
  return way;
}

// A thread reads its part of memory as eight streams that lie apart, each fetched into the second cache before it is read: of one to
// eight streams, with and without fetching, into either cache, this took the least time.
enum { STREAMS = 8, AHEAD = 2048 };
static size_t part_bytes;  // more than the caches hold, and with many threads not all of the memory
static char *memory;
static int touched;
static pthread_barrier_t all_there;
static void *read_part(void *index) {
  long i = (long)index;
  const size_t each = part_bytes / STREAMS;
  const char *from = memory + i * part_bytes;
  unsigned long sum = 0;
  pin(i);
  if (!touched) {  // by the thread that reads it: on its own node
    memset(memory + i * part_bytes, 1, part_bytes);
    return 0;
  }
  pthread_barrier_wait(&all_there);
  double start = now();
  for (size_t at = 0; at < each; at += 64)
    for (int s = 0; s < STREAMS; ++s) {
      const char *line = from + s * each + at;
      __builtin_prefetch(line + AHEAD, 0, 2);
      sum += *(const unsigned long *)line;
    }
  took[i] = now() - start;
  asm volatile("" ::"r"(sum));
  return 0;
}
// By the slowest thread, the better of two.
static double read_rate(void) {
  double best = 0;
  if (!memory) {
    part_bytes = (size_t)(threads > 2 ? 64 : 128) << 20;
    memory = aligned_alloc((size_t)2 << 20, threads * part_bytes);
    if (!memory) return 0;
    madvise(memory, threads * part_bytes, MADV_HUGEPAGE);
    pthread_barrier_init(&all_there, 0, threads);
  }
  for (int r = touched ? 1 : 0; r < 3; ++r) {
    pthread_t t[MOST];
    double slowest = 0;
    for (long i = 0; i < threads; ++i) pthread_create(&t[i], 0, read_part, (void *)i);
    for (int i = 0; i < threads; ++i) pthread_join(t[i], 0);
    if (!touched) {
      touched = 1;
      continue;
    }
    for (int i = 0; i < threads; ++i) slowest = took[i] > slowest ? took[i] : slowest;
    if (1e-9 * threads * part_bytes / slowest > best) best = 1e-9 * threads * part_bytes / slowest;
  }
  return best;
}

int main(int argc, char **argv) {
  char line[64];
  threads = argc > 1 ? atoi(argv[1]) : 1;
  if (threads < 1 || threads > MOST || !__builtin_cpu_supports("fma")) return 1;
  const int pair_tiles = has_tiles(22), four_tiles = has_tiles(25);
  fill();
  while (fgets(line, sizeof line, stdin)) {
    if (strstr(line, "read")) {
      printf("{\"readGigabytesPerSecond\":%.2f}\n", read_rate());
      fflush(stdout);
      continue;
    }
    const double vector = (double)CHAINS * ROUNDS, tile = 4.0 * TILE_ROUNDS * 16 * 16;
    double f32 = __builtin_cpu_supports("avx512f") ? rate(wide_multiply_add, 32 * vector) : rate(multiply_add, 16 * vector);
    double bf16 = pair_tiles                             ? rate(tile_pairs, 2 * 32 * tile)
                  : __builtin_cpu_supports("avx512bf16") ? rate(dot_pairs, 64 * vector)
                                                         : 0;
    double int8 = four_tiles                             ? rate(tile_fours, 2 * 64 * tile)
                  : __builtin_cpu_supports("avx512vnni") ? rate(dot_fours, 128 * vector)
                                                         : 0;
    printf("{\"f32\":%.1f,\"bf16\":%.1f,\"int8\":%.1f,\"lineNanoseconds\":%.0f}\n", f32, bf16, int8, line_way());
    fflush(stdout);
  }
}
