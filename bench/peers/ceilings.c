// What the processor could do at most, now: each line on stdin makes every thread run independent multiply-adds for some
// milliseconds, and answers with GFLOP/s of f32, of bf16 pairs and of int8 fours (0 where the processor lacks the instruction),
// and with the nanoseconds that a cache line takes from one core to the next (0 with one thread): some 25 within a die, 150 and
// more between two, and a virtual machine's CPUs may be moved from one to the other while it runs.
//   cc -O3 -pthread -o ceilings ceilings.c && ./ceilings THREADS
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { CHAINS = 12, ROUNDS = 400000, MOST = 256 };
static int threads;
static void (*kernel)(void);
static double took[MOST];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// In assembly, because compilers spill such chains. 12 of them hide the latency of every processor of this kind.
#define CHAIN(op, r, n) op " %%" r "15, %%" r "15, %%" r #n "\n"
#define TWELVE(op, r)                                                                                                 \
  CHAIN(op, r, 0) CHAIN(op, r, 1) CHAIN(op, r, 2) CHAIN(op, r, 3) CHAIN(op, r, 4) CHAIN(op, r, 5)                      \
  CHAIN(op, r, 6) CHAIN(op, r, 7) CHAIN(op, r, 8) CHAIN(op, r, 9) CHAIN(op, r, 10) CHAIN(op, r, 11)
#define KERNEL(name, isa, op, r, clear)                                                                                \
  __attribute__((target(isa))) static void name(void) {                                                                \
    asm volatile(clear ::: "memory");                                                                                  \
    for (int i = 0; i < ROUNDS; ++i)                                                                                   \
      asm volatile(TWELVE(op, r)::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",    \
                   "xmm10", "xmm11");                                                                                  \
  }
KERNEL(multiply_add, "avx2,fma", "vfmadd231ps", "ymm", "vzeroall")
KERNEL(wide_multiply_add, "avx512f", "vfmadd231ps", "zmm", "vzeroall")
KERNEL(dot_pairs, "avx512f,avx512bf16", "vdpbf16ps", "zmm", "vzeroall")
KERNEL(dot_fours, "avx512f,avx512vnni", "vpdpbusd", "zmm", "vzeroall")

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

// The sum of every thread's own rate, the best of three.
static double rate(void (*chosen)(void), int flops) {
  double best = 0;
  kernel = chosen;
  for (int r = 0; r < 3; ++r) {
    pthread_t t[MOST];
    double sum = 0;
    for (long i = 0; i < threads; ++i) pthread_create(&t[i], 0, work, (void *)i);
    for (int i = 0; i < threads; ++i) pthread_join(t[i], 0);
    for (int i = 0; i < threads; ++i) sum += 1e-9 * flops * CHAINS * ROUNDS / took[i];
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
  while (fgets(line, sizeof line, stdin)) {
    if (strstr(line, "read")) {
      printf("{\"readGigabytesPerSecond\":%.2f}\n", read_rate());
      fflush(stdout);
      continue;
    }
    double f32 = __builtin_cpu_supports("avx512f") ? rate(wide_multiply_add, 32) : rate(multiply_add, 16);
    double pairs = __builtin_cpu_supports("avx512bf16") ? rate(dot_pairs, 64) : 0;
    double fours = __builtin_cpu_supports("avx512vnni") ? rate(dot_fours, 128) : 0;
    printf("{\"f32\":%.1f,\"bf16\":%.1f,\"int8\":%.1f,\"lineNanoseconds\":%.0f}\n", f32, pairs, fours, line_way());
    fflush(stdout);
  }
}
