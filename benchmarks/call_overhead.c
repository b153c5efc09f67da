/* What a call costs from C: `call_overhead model.pens BATCHES CALLS` prints nanoseconds per call of each batch, then
 * the first number of the first output, so that the caller can see that the calls computed something. All inputs are
 * f32 and hold ones. */
#define _POSIX_C_SOURCE 200809L
#include "penstock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Memory for every input, or every output, holding f32 ones. */
static void **buffers(const pens_model *model, uint32_t count, pens_tensor (*describe)(const pens_model *, uint32_t))
{
    void **result = calloc(count + 1u, sizeof *result);
    for (uint32_t i = 0; result != NULL && i < count; i++) {
        uint64_t bytes = describe(model, i).bytes;
        float *data = malloc(bytes + 1);
        if (data == NULL)
            abort();
        for (uint64_t at = 0; at < bytes / sizeof *data; at++)
            data[at] = 1;
        result[i] = data;
    }
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: call_overhead model.pens BATCHES CALLS\n");
        return 2;
    }
    pens_error error;
    pens_model *model;
    pens_session *session;
    pens_session_options options = {.threads = 1};
    if (pens_load_file(argv[1], NULL, &model, &error) != PENS_OK ||
        pens_session_create(model, &options, &session, &error) != PENS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    void **inputs = buffers(model, pens_input_count(model), pens_input);
    void **outputs = buffers(model, pens_output_count(model), pens_output);
    int batches = atoi(argv[2]), calls = atoi(argv[3]);
    for (int batch = -1; batch < batches; batch++) {
        double start = now_ns();
        for (int call = 0; call < calls; call++)
            if (pens_run(session, (const void *const *)inputs, outputs, &error) != PENS_OK) {
                fprintf(stderr, "%s\n", error.message);
                return 1;
            }
        if (batch >= 0)
            printf("%.1f\n", (now_ns() - start) / calls);
    }
    printf("%.9g\n", (double)*(const float *)outputs[0]);
    return 0;
}
