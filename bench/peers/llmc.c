// llm.c's GPT-2 (train_gpt2.c, included from its own checkout) behind the line protocol of the other peers: each line
// on stdin is one training step of random weights, answered with its seconds.
//   cc -Ofast -march=native -fopenmp -DOMP -I LLM_C -o llmc llmc.c -lm && ./llmc VOCABULARY CHANNELS LAYERS HEADS B T
#define TESTING  // without its main
#include <train_gpt2.c>

#include <sys/resource.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  const int vocabulary = atoi(argv[1]), B = atoi(argv[5]), T = atoi(argv[6]);
  // It reports on stdout: answers go where stdout went.
  FILE *answers = fdopen(dup(1), "w");
  if (!answers || !freopen("/dev/null", "w", stdout)) return 1;

  GPT2 model = {0};
  model.config = (GPT2Config){.max_seq_len = T, .vocab_size = vocabulary, .padded_vocab_size = (vocabulary + 127) / 128 * 128,
                              .num_layers = atoi(argv[3]), .num_heads = atoi(argv[4]), .channels = atoi(argv[2])};
  fill_in_parameter_sizes(model.param_sizes, model.config);
  for (int i = 0; i < NUM_PARAMETER_TENSORS; ++i) model.num_parameters += model.param_sizes[i];
  model.params_memory = malloc_and_point_parameters(&model.params, model.param_sizes);
  unsigned state = 1;
  for (size_t i = 0; i < model.num_parameters; ++i) {
    state = state * 1664525u + 1013904223u;
    model.params_memory[i] = 0.04f * ((state >> 8) * (1.0f / 16777216) - 0.5f);
  }
  model.mean_loss = -1;

  int *tokens = malloc(sizeof(int) * ((size_t)B * T + 1));
  if (!tokens) return 1;
  for (int i = 0; i <= B * T; ++i) tokens[i] = (int)((long)i * 7919 % vocabulary);
  fprintf(answers, "{\"parameters\":%zu}\n", model.num_parameters), fflush(answers);

  char line[4096];
  for (int step = 1; fgets(line, sizeof line, stdin); ++step) {
    const double start = now();
    gpt2_forward(&model, tokens, tokens + 1, B, T);
    gpt2_zero_grad(&model);
    gpt2_backward(&model);
    gpt2_update(&model, 1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, step);
    const double seconds = now() - start;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    fprintf(answers, "{\"seconds\":%.6f,\"loss\":%.4f,\"peakBytes\":%ld}\n", seconds, model.mean_loss, usage.ru_maxrss * 1024L);
    fflush(answers);
  }
  return 0;
}
