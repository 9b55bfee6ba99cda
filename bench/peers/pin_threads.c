// Preloaded into node-llama-cpp's process: ggml makes its helper threads anew for every graph, and the system often puts
// them on the core where the thread that made them is spinning. Here the maker stays on the first core of the process
// and its helpers go round the others, as a user of llama.cpp's own --cpu-mask would have it.
//   cc -shared -fPIC -O2 -o pin_threads.so pin_threads.c -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

typedef int (*Create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static cpu_set_t allowed;
__attribute__((constructor)) static void remember(void) { sched_getaffinity(0, sizeof allowed, &allowed); }

static int core(int index) {  // the index-th allowed core
  for (int c = 0; c < CPU_SETSIZE; ++c)
    if (CPU_ISSET(c, &allowed) && index-- == 0) return c;
  return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *argument) {
  static Create create;
  static __thread int helpers;
  if (!create) create = (Create)dlsym(RTLD_NEXT, "pthread_create");
  Dl_info info;
  int cores = CPU_COUNT(&allowed);
  if (cores < 2 || !dladdr((void *)start, &info) || !info.dli_fname || !strstr(info.dli_fname, "ggml"))
    return create(thread, attr, start, argument);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core(0), &one);
  pthread_setaffinity_np(pthread_self(), sizeof one, &one);
  CPU_ZERO(&one);
  CPU_SET(core(1 + helpers++ % (cores - 1)), &one);
  pthread_attr_t pinned;
  pthread_attr_init(&pinned);
  pthread_attr_setaffinity_np(&pinned, sizeof one, &one);
  int result = create(thread, &pinned, start, argument);
  pthread_attr_destroy(&pinned);
  return result;
}
