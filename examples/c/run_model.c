/* Run a compiled model from C, twice: with two threads of the session's own, and with threads of ours.
 *
 *     cc -std=c11 -O2 -I LIB run_model.c LIB/libpenstock.a -pthread -o run_model
 *     ./run_model model.pens [SIZE=NUMBER ...] [INPUT [EXPECTED]]
 *
 * LIB is the folder with penstock.h and libpenstock.a: `python -c "import penstock.runtime.library as l; print(l.FOLDER)"`.
 * INPUT holds the bytes of the first input, EXPECTED those of the first output (f32), to which the result is compared.
 * A model whose sizes are chosen at run time, such as batch, is told them: batch=4.
 * Inputs without a file are filled with a fixed pseudo-random pattern, so that two runs can be compared bit for bit. */
#define _POSIX_C_SOURCE 200809L
#include "penstock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 2, REPEATS = 20 };

typedef struct {
    pens_task task;
    void *context;
    uint32_t index;
} job;

static void *run_job(void *argument)
{
    job *j = argument;
    j->task(j->context, j->index);
    return NULL;
}

/* The simplest executor there can be: a thread per task. A server would hand the tasks to its own pool. */
static void execute(void *host, pens_task task, void *context, uint32_t count)
{
    pthread_t threads[THREADS];
    job jobs[THREADS];
    (void)host;
    for (uint32_t i = 1; i < count; i++) {
        jobs[i] = (job){task, context, i};
        if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0)
            abort();
    }
    task(context, 0);
    for (uint32_t i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A pattern that is a valid number for every type: small non-negative integers, floats in [-1, 1). */
static void fill(const pens_tensor *tensor, void *data)
{
    uint32_t state = 12345;
    if (tensor->dtype != PENS_F32) {
        memset(data, 0, tensor->bytes);
        return;
    }
    for (uint64_t i = 0; i < tensor->bytes / sizeof(float); i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)data)[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
}

/* The whole file, which must hold just so many bytes; NULL with a sentence if it does not. */
static void *read_file(const char *path, uint64_t bytes)
{
    FILE *file = fopen(path, "rb");
    char *data = malloc(bytes + 1);
    if (file == NULL || data == NULL || fread(data, 1, bytes + 1, file) != bytes) {
        fprintf(stderr, "%s does not hold %llu bytes\n", path, (unsigned long long)bytes);
        free(data);
        data = NULL;
    }
    if (file != NULL)
        fclose(file);
    return data;
}

/* The largest distance between two f32 tensors, as a share of the range of the second. */
static double error_of(const float *found, const float *expected, uint64_t count)
{
    double worst = 0, low = 1e300, high = -1e300;
    for (uint64_t i = 0; i < count; i++) {
        double e = expected[i], distance = e > found[i] ? e - found[i] : found[i] - e;
        worst = distance <= worst ? worst : distance;
        low = e < low ? e : low;
        high = e > high ? e : high;
    }
    return high > low ? worst / (high - low) : worst;
}

/* The sizes of the model's symbols, in their order, from arguments such as batch=4; NULL with a sentence if one is
 * missing. Those arguments are taken out of `arguments`. */
static int64_t *read_sizes(const pens_model *model, int *count, char **arguments)
{
    uint32_t symbols = pens_symbol_count(model);
    int64_t *sizes = calloc(symbols + 1, sizeof *sizes);
    for (uint32_t i = 0; sizes != NULL && i < symbols; i++) {
        pens_symbol symbol = pens_symbol_info(model, i);
        size_t length = strlen(symbol.name);
        int found = 0;
        for (int a = 2; a < *count && !found; a++) {
            if (strncmp(arguments[a], symbol.name, length) != 0 || arguments[a][length] != '=')
                continue;
            sizes[i] = strtoll(arguments[a] + length + 1, NULL, 10);
            memmove(arguments + a, arguments + a + 1, (size_t)(--*count - a) * sizeof *arguments);
            found = 1;
        }
        if (!found) {
            fprintf(stderr, "the model needs a size: %s=NUMBER\n", symbol.name);
            free(sizes);
            return NULL;
        }
    }
    return sizes;
}

/* A session with its sizes; NULL with a sentence. */
static pens_session *open_session(pens_model *model, const pens_session_options *options, const int64_t *sizes)
{
    pens_error error;
    pens_session *session;
    if (pens_session_create(model, options, &session, &error) != PENS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return NULL;
    }
    if (pens_session_set_sizes(session, sizes, &error) != PENS_OK) {
        fprintf(stderr, "%s\n", error.message);
        pens_session_destroy(session);
        return NULL;
    }
    return session;
}

static int run(pens_session *session, const char *title, void **inputs, void **outputs)
{
    pens_error error;
    double best = 1e30;
    for (int i = 0; i < REPEATS; i++) {
        double start = now_ms();
        if (pens_run(session, (const void *const *)inputs, outputs, &error) != PENS_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
        double took = now_ms() - start;
        best = took < best ? took : best;
    }
    printf("%s: %.3f ms\n", title, best);
    return 0;
}

int main(int argc, char **argv)
{
    pens_error error;
    pens_model *model;
    if (argc < 2) {
        fprintf(stderr, "usage: run_model MODEL.pens [SIZE=NUMBER ...] [INPUT [EXPECTED]]\n");
        return 2;
    }
    if (pens_load_file(argv[1], NULL, &model, &error) != PENS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    int64_t *sizes = read_sizes(model, &argc, argv);
    if (sizes == NULL || argc > 4)
        return 2;
    printf("code for %s\n", pens_isa(model));
    pens_session_options own = {.threads = THREADS}, host = {.threads = THREADS, .executor = execute};
    pens_session *session = open_session(model, &own, sizes), *other = open_session(model, &host, sizes);
    if (session == NULL || other == NULL)
        return 2;
    uint32_t input_count = pens_input_count(model), output_count = pens_output_count(model);
    void **inputs = calloc(input_count + 1, sizeof *inputs), **first = calloc(output_count + 1, sizeof *first);
    void **second = calloc(output_count + 1, sizeof *second);
    if (inputs == NULL || first == NULL || second == NULL)
        return 1;
    for (uint32_t i = 0; i < input_count; i++) {
        pens_tensor tensor = pens_session_input(session, i);
        int given = i == 0 && argc > 2;
        inputs[i] = given ? read_file(argv[2], tensor.bytes) : malloc(tensor.bytes + 1);
        if (inputs[i] == NULL)
            return 1;
        if (!given)
            fill(&tensor, inputs[i]);
    }
    for (uint32_t i = 0; i < output_count; i++) {
        first[i] = calloc(1, pens_session_output(session, i).bytes + 1);
        second[i] = calloc(1, pens_session_output(session, i).bytes + 1);
        if (first[i] == NULL || second[i] == NULL)
            return 1;
    }
    int failed = run(session, "two threads of the session", inputs, first) ||
                 run(other, "two threads of the host", inputs, second);
    int same = 1;
    if (argc > 3 && output_count > 0) {
        pens_tensor tensor = pens_session_output(session, 0);
        void *expected = tensor.dtype == PENS_F32 ? read_file(argv[3], tensor.bytes) : NULL;
        if (expected == NULL)
            return 1;
        printf("largest error: %.2g of the range\n", error_of(first[0], expected, tensor.bytes / sizeof(float)));
        free(expected);
    }
    for (uint32_t i = 0; i < output_count; i++) {
        pens_tensor tensor = pens_session_output(session, i);
        same = same && memcmp(first[i], second[i], tensor.bytes) == 0;
        if (tensor.dtype == PENS_F32 && tensor.bytes > 0)
            printf("%s[0] = %.6g\n", tensor.name, (double)*(float *)first[i]);
        free(first[i]);
        free(second[i]);
    }
    printf("same bits: %s\n", same ? "yes" : "no");
    for (uint32_t i = 0; i < input_count; i++)
        free(inputs[i]);
    free(inputs);
    free(first);
    free(second);
    free(sizes);
    pens_session_destroy(session);
    pens_session_destroy(other);
    pens_unload(model);
    return failed || !same;
}
