// What two instructions reach from registers, with a thread on each of the first cores: the ceilings of bench/inference.ts.
//   cc -O2 -march=native -pthread -o peaks peaks.c && ./peaks 2
// Prints 10^9 multiplications and additions per second as JSON; instructions that the processor lacks are left out.
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
enum { rounds = 4000000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#if defined(__AVX512VNNI__)
static void int8(void) {
  __m512i x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(2);
  __asm__ volatile("" : "+v"(x), "+v"(y));
#define START(i) __m512i a##i = x;
  TWELVE(START)
#undef START
  for (long n = 0; n < rounds; ++n) {
#define STEP(i) a##i = _mm512_dpbusd_epi32(a##i, x, y); __asm__ volatile("" : "+v"(a##i));
    TWELVE(STEP)
#undef STEP
  }
}
#endif
#if defined(__AVX512BF16__)
static void bf16(void) {
  __m512bh x = (__m512bh)_mm512_setzero_si512(), y = x;
  __asm__ volatile("" : "+v"(x), "+v"(y));
#define START(i) __m512 a##i = _mm512_setzero_ps();
  TWELVE(START)
#undef START
  for (long n = 0; n < rounds; ++n) {
#define STEP(i) a##i = _mm512_dpbf16_ps(a##i, x, y); __asm__ volatile("" : "+v"(a##i));
    TWELVE(STEP)
#undef STEP
  }
}
#endif

struct job {
  int core;
  void (*work)(void);
};
static void *pinned(void *p) {
  const struct job *job = p;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(job->core, &one);
  pthread_setaffinity_np(pthread_self(), sizeof one, &one);
  job->work();
  return NULL;
}

static double rate(void (*work)(void), int threads, double operations) {
  pthread_t thread[64];
  struct job job[64];
  double start = now();
  for (int i = 0; i < threads; ++i) {
    job[i] = (struct job){i, work};
    pthread_create(&thread[i], NULL, pinned, &job[i]);
  }
  for (int i = 0; i < threads; ++i) pthread_join(thread[i], NULL);
  return threads * operations * 12 * rounds / (now() - start) / 1e9;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 1;
  if (threads < 1 || threads > 64) return 1;
  const char *comma = "";
  printf("{");
#if defined(__AVX512VNNI__)
  printf("\"int8\":%.1f", rate(int8, threads, 128)), comma = ",";
#endif
#if defined(__AVX512BF16__)
  printf("%s\"bf16\":%.1f", comma, rate(bf16, threads, 64));
#endif
  printf("}\n");
  return 0;
}
